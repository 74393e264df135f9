"""Every way a request or a start can fail: a code, a status and a sentence for strangers.

An error's `str()` is for the operator's log; `public` is all that a stranger ever sees.
"""

from collections.abc import Sequence
from typing import ClassVar, Self


class ConfigurationError(Exception):
    """A setting or the policy is wrong: the server must not start. `str()` is one clear line."""


class ImageError(Exception):
    """A request that cannot be answered with the picture asked for."""

    code: ClassVar[str]
    status: ClassVar[int]
    is_passing: ClassVar[bool] = False
    """Whether to try again in some seconds is what would be right."""
    is_lasting: bool = True
    """Whether an original that is refused like this would be refused again."""
    retry_seconds: int | None = None
    """When to try again, where that is known."""
    public: str

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.public)


class _InOwnWords(ImageError):
    """An error whose public sentence is another one each time."""

    def __init__(self, public: str, detail: str = "") -> None:
        self.public = public
        super().__init__(detail)


class BadQuery(ImageError):
    """The page's author asked for something that makes no sense."""

    code = "bad-query"
    status = 400

    def __init__(self, problems: list[str]) -> None:
        # Every problem at once: an author should not have to mend and try one by one.
        self.public = "; ".join(problems)
        super().__init__()


class BadSignature(ImageError):
    """Links must be signed here, and this one is not, or not rightly, or no longer."""

    code = "bad-signature"
    status = 403
    # The same for one that is missing and one that is wrong: the answer must not help to guess.
    public = "This link is not signed as it must be."

    def __init__(self, detail: str = "", *, expired: bool = False) -> None:
        if expired:
            self.public = "This link has expired."
        super().__init__(detail)


class NotFound(ImageError):
    """There is no such original, or none that may be shown."""

    code = "not-found"
    status = 404
    public = "There is no such picture."


class FolderNotFound(ImageError):
    """There is no such folder of originals, or none that may be shown."""

    code = "folder-not-found"
    status = 404
    public = "There is no such folder."


class MethodNotAllowed(ImageError):
    """There is something, but the method is none that it has."""

    code = "method-not-allowed"
    status = 405

    def __init__(self, detail: str = "", *, allowed: Sequence[str] = ("GET", "HEAD")) -> None:
        self.allowed = ", ".join(allowed)
        self.public = f"The method must be {' or '.join(allowed)}."
        super().__init__(detail)


class NoSuchPage(_InOwnWords, NotFound):
    """A document, or a picture, has no page of this number, or knows no such moment."""

    code = "no-such-page"


class PageBeingMade(ImageError):
    """A page of a document that is drawn by a worker, and will be there in some seconds. It is a
    404 because caches keep that for as short as they are told to, and nobody takes the server for
    down.
    """

    code = "page-being-made"
    status = 404
    public = "The page is being made. Try again in a moment."
    retry_seconds = 2


class NoPreview(_InOwnWords):
    """No worker can draw such a document at the moment."""

    code = "no-preview"
    status = 422


class UndrawableDocument(_InOwnWords):
    """A document that cannot be drawn; some sentences are in `images.previews.kind`."""

    code = "undrawable-document"
    status = 422


class CropOutside(ImageError):
    """The picture, once it is opened, has nothing of the rectangle that was asked for."""

    code = "crop-outside"
    status = 422
    public = "The crop lies outside of the picture."


class UnsupportedOriginal(ImageError):
    """The original is in no format on the allow-list, whatever its name says."""

    code = "unsupported-original"
    status = 422
    public = "The original is not a JPEG, PNG, WebP or GIF picture."


class OversizedOriginal(ImageError):
    """The original is over a limit: too many bytes, too much memory or too many parts."""

    code = "oversized-original"
    status = 422
    public = "The original is larger than this server accepts."

    @classmethod
    def for_want_of_memory(cls) -> Self:
        """Return one that another trial may not meet: what else is in memory may be to blame."""
        error = cls("not enough memory to make this of it")
        error.is_lasting = False
        return error


class BrokenOriginal(ImageError):
    """The original claims a format on the allow-list, and cannot be decoded."""

    code = "broken-original"
    status = 422
    public = "The original is damaged."


class DeadlyOriginal(ImageError):
    """Workers died over the original: it is in quarantine."""

    code = "deadly-original"
    status = 422
    public = "The original cannot be rendered: it has stopped this server's renderers."


class OriginalsUnavailable(ImageError):
    """The folder of originals cannot be read, or an original changed while it was read."""

    code = "originals-unavailable"
    status = 503
    public = "The original cannot be read at the moment."


class Busy(ImageError):
    """An equal request makes the picture, or all workers are busy, for too long to wait."""

    code = "busy"
    status = 503
    public = "The picture is being made. Try again in a moment."
    is_passing = True


class Overloaded(ImageError):
    """More are waiting for a rendition already than may."""

    code = "overloaded"
    status = 503
    public = "Too many pictures are being made. Try again in a moment."
    is_passing = True


class OriginForbidden(ImageError):
    """A remote original that this server may not fetch. The public sentence is the same for
    every reason: strangers must not learn what addresses a name has.
    """

    code = "origin-forbidden"
    status = 403
    public = "This server may not fetch that original."


class OriginFailed(ImageError):
    """Another host did not give the original that it was asked for."""

    code = "origin-failed"
    status = 502
    public = "The original could not be fetched from its host."


class OriginTimeout(ImageError):
    """Another host takes too long."""

    code = "origin-timeout"
    status = 504
    public = "The original's host takes too long."


class OriginBusy(Busy):
    """As many originals are being fetched as may be at once, or that one takes too long."""

    code = "origin-busy"
    status = 503
    public = "Too many originals are being fetched. Try again in a moment."


class NotAuthorized(ImageError):
    """What changes something needs a token, and this one is missing, or not known here."""

    code = "not-authorized"
    status = 401
    public = "The header must be Authorization: Bearer TOKEN, with a token of this server's."


class Forbidden(_InOwnWords):
    """The client may not do that, whatever it sends."""

    code = "forbidden"
    status = 403


class NoSuchUpload(NotFound):
    """Nothing was uploaded under that ident, or it was removed."""

    code = "no-such-upload"
    public = "There is no such upload."


class WrongOffset(ImageError):
    """A piece of a resumable upload does not begin where the last one ended."""

    code = "wrong-offset"
    status = 409
    public = "The piece does not begin where what arrived ends: ask where by HEAD."


class UploadOver(ImageError):
    """A resumable upload that is finished, expired or ended."""

    code = "upload-over"
    status = 410
    public = "This upload is over: it was finished, ended, or not gone on with in time."


class LengthRequired(ImageError):
    """A body of which nobody says how long it is."""

    code = "length-required"
    status = 411
    public = "The header Content-Length must say how long the body is."


class WrongTusVersion(ImageError):
    """A version of the protocol for resumable uploads that is not spoken here."""

    code = "wrong-tus-version"
    status = 412
    public = "The header must be Tus-Resumable: 1.0.0."


class TooLarge(ImageError):
    """A body that is larger than may be."""

    code = "too-large"
    status = 413

    def __init__(self, max_bytes: int) -> None:
        self.public = f"This server takes no more than {max_bytes} bytes."
        super().__init__()


class UnsupportedUpload(_InOwnWords):
    """What was handed in is no picture, or comes in no form that is read here."""

    code = "unsupported-upload"
    status = 415


class TooManyRequests(ImageError):
    """A token has been used as much as it may be in this hour."""

    code = "too-many-requests"
    status = 429
    public = "This token has been used as much as it may be. Try again later."

    def __init__(self, retry_seconds: int, detail: str = "") -> None:
        self.retry_seconds = retry_seconds
        super().__init__(detail)


class UploadsUnavailable(ImageError):
    """The place of uploads cannot be written, or read."""

    code = "uploads-unavailable"
    status = 503
    public = "Nothing can be kept at the moment. Try again later."
    is_passing = True


class NoSuchJob(ImageError):
    """No job was ever given that id."""

    code = "no-such-job"
    status = 404
    public = "There is no such job."


class JobOver(ImageError):
    """A job that was forgotten, or that has no thumbnail and never will."""

    code = "job-over"
    status = 410
    public = "This job is over."


class JobFailed(ImageError):
    """A job that could not be done has no thumbnail."""

    code = "job-failed"
    status = 422

    def __init__(self, public: str) -> None:
        self.public = public
        super().__init__()


class JobsUnavailable(ImageError):
    """Jobs cannot be kept, or as many wait as may."""

    code = "jobs-unavailable"
    status = 503
    public = "No job can be taken at the moment. Try again in a moment."
    is_passing = True


class NotYetGone(ImageError):
    """An upload was removed here, and its bucket cannot be asked at the moment."""

    code = "not-yet-gone"
    status = 202
    public = (
        "It is no longer found here. Its bucket cannot be asked at the moment: this server removes"
        " it there as soon as it can."
    )


class NotAllGone(ImageError):
    """An upload was removed, and something of it is still there."""

    code = "not-all-gone"
    status = 502
    public = "It is no longer found here, but not all of it is gone yet: ask once more."


class NoRoom(ImageError):
    """There is no room for another upload."""

    code = "no-room"
    status = 507
    public = "This server has no room for it."


class Internal(ImageError):
    """Something that should not happen; the log has the traceback."""

    code = "internal"
    status = 500
    public = "The server made a mistake."
