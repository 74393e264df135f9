"""Small PDFs, written by hand: pages, boxes, annotations, passwords."""

import hashlib
import struct
from collections.abc import Mapping, Sequence

Objects = dict[int, bytes]


def pdf_of(objects: Objects, trailer: bytes = b"", version: bytes = b"1.7") -> bytes:
    """Write a PDF of numbered objects, of which the first is the catalogue."""
    out = bytearray(b"%PDF-" + version + b"\n%\xe2\xe3\xcf\xd3\n")
    places = {}
    for number, body in sorted(objects.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    most = max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % most
    for number in range(1, most):
        place = places.get(number)
        out += b"%010d 00000 n \n" % place if place else b"0000000000 65535 f \n"
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (most, trailer)
    out += b"startxref\n%d\n%%%%EOF\n" % table
    return bytes(out)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


HELVETICA = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def pdf(
    pages: Sequence[bytes] = (b"",),
    *,
    media_box: bytes = b"0 0 200 100",
    page_entries: bytes = b"",
    resources: bytes = b"",
    catalogue: bytes = b"",
    more: Mapping[int, bytes] | None = None,
) -> bytes:
    """Write a PDF whose pages have these contents; further objects begin at 1000."""
    objects: Objects = {3: HELVETICA}
    kids = []
    for index, content in enumerate(pages):
        page, contents = 10 + 2 * index, 11 + 2 * index
        kids.append(b"%d 0 R" % page)
        objects[page] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> %s >> %s >>"
            % (media_box, contents, resources, page_entries)
        )
        objects[contents] = stream(content)
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalogue
    objects[2] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), b" ".join(kids))
    return pdf_of(objects | dict(more or {}))


def said(text: str, size: int = 24, at: str = "20 40") -> bytes:
    return f"BT /F1 {size} Tf {at} Td ({text}) Tj ET\n".encode("ascii")


def filled(box: str, colour: str = "1 0 0") -> bytes:
    return f"{colour} rg {box} re f\n".encode("ascii")


_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def encrypted_pdf(content: bytes, *, user: bytes = b"", owner: bytes = b"owner") -> bytes:
    """Write a PDF of one page with passwords, by ISO 32000-1's revision 2: RC4 of 40 bits."""
    identity, permissions = b"0123456789abcdef", -44

    def padded(password: bytes) -> bytes:
        return (password + _PADDING)[:32]

    def digest(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    owner_entry = rc4(digest(padded(owner))[:5], padded(user))
    key = digest(padded(user) + owner_entry + struct.pack("<i", permissions) + identity)[:5]
    user_entry = rc4(key, _PADDING)

    def of_object(number: int, data: bytes) -> bytes:
        return rc4(digest(key + struct.pack("<I", number)[:3] + b"\0\0")[:10], data)

    return pdf_of(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Count 1 /Kids [10 0 R] >>",
            3: HELVETICA,
            10: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 11 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>",
            11: stream(of_object(11, content)),
            12: b"<< /Filter /Standard /V 1 /R 2 /P %d /O <%s> /U <%s> >>"
            % (permissions, owner_entry.hex().encode(), user_entry.hex().encode()),
        },
        trailer=b"/Encrypt 12 0 R /ID [<%s> <%s>]" % ((identity.hex().encode(),) * 2),
    )
