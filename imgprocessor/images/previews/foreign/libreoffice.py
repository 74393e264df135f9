"""LibreOffice, inside of the sandbox: one page of a document as a PDF, and how many there are."""

import atexit
import ctypes
import os
import resource
from pathlib import Path
from xml.sax.saxutils import escape

from imgprocessor.errors import UndrawableDocument
from imgprocessor.images.previews.drawing import NoPage, setting_up
from imgprocessor.images.previews.kind import DAMAGED, EMPTY, LOCKED, TOO_LARGE

INSTALLED = Path("/usr/lib/libreoffice/program")
"""Where Debian has it. What it reads beside `/usr` is in `LIBREOFFICE_SETTINGS`."""

LIBREOFFICE_SETTINGS = Path("/etc/libreoffice")

_LIBRARY = "libmergedlo.so"
_PARTS = {
    _LIBRARY: "core",
    "libswlo.so": "writer",
    "libsclo.so": "calc",
    "libsdlo.so": "draw",
}
"""Libraries and what has them: Debian's `libreoffice-…`, with or without `-nogui`."""
_IMPRESS = Path("/usr/lib/libreoffice/share/registry/impress.xcd")
"""Impress has no library of its own: Draw has all but the settings."""

_MUCH = 0.6
"""Of the memory that is allowed, libraries and files take much without using it."""

_SET_ACTIVE = "_ZN10comphelper14LibreOfficeKit9setActiveEb"
"""`comphelper::LibreOfficeKit::setActive(bool)`."""

_RUN_MACRO, _GET_ERROR = 11, 3
"""Places in LibreOfficeKit's table of functions, to which versions only add."""

_COMMON = "/org.openoffice.Office.Common"
_SCRIPTING = f"{_COMMON}/Security/Scripting"
_FORMULAS = "/org.openoffice.Office.Calc/Formula"
_SETTINGS = (
    # A profile that has all it needs: nothing is copied into it, nobody is greeted.
    ("/org.openoffice.Setup/Office", "ooSetupInstCompleted", "true"),
    (f"{_COMMON}/Misc", "FirstRun", "false"),
    # Otherwise a program is begun to ask what paper is usual, which may not be begun here.
    ("/org.openoffice.Setup/L10N", "ooLocale", "en-US"),
    ("/org.openoffice.Setup/L10N", "ooSetupSystemLocale", "en-US"),
    # Documents' macros: none. It has other reasons not to run them (`MacroExecutionMode` below).
    (_SCRIPTING, "MacroSecurityLevel", "3"),
    (_SCRIPTING, "DisableMacrosExecution", "true"),
    (_SCRIPTING, "CheckDocumentEvents", "true"),
    # Nothing that a document links is fetched or brought up to date: no document is trusted.
    (_SCRIPTING, "BlockUntrustedRefererLinks", "true"),
    ("/org.openoffice.Office.Writer/Content/Update", "Link", "0"),
    ("/org.openoffice.Office.Calc/Content/Update", "Link", "2"),
    # Values as they were when the document was saved.
    (f"{_FORMULAS}/Load", "OOXMLRecalcMode", "1"),
    (f"{_FORMULAS}/Load", "ODFRecalcMode", "1"),
    (f"{_FORMULAS}/Calculation", "UseThreadedCalculationForFormulaGroups", "false"),
    # Nothing that looks at the machine, or leaves anything for a next time.
    (f"{_COMMON}/Misc", "UseOpenCL", "false"),
    (f"{_COMMON}/Misc", "CrashReport", "false"),
    (f"{_COMMON}/Misc", "UseLocking", "false"),
    (f"{_COMMON}/History", "PickListSize", "0"),
    ("/org.openoffice.Office.Recovery/AutoSave", "Enabled", "false"),
    ("/org.openoffice.Office.Recovery/RecoveryInfo", "Enabled", "false"),
    ("/org.openoffice.Office.Java/VirtualMachine", "Enable", "false"),
    ("/org.openoffice.Office.Update/Update", "Enabled", "false"),
)
"""The profile: path, name and value, as in LibreOffice's own registry."""

_SETTINGS_XML = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">{}</oor:items>
"""
_SETTING_XML = (
    '<item oor:path="{}"><prop oor:name="{}" oor:op="fuse"><value>{}</value></prop></item>'
)

_LIBRARIES_XML = """<?xml version="1.0" encoding="UTF-8"?>
<library:libraries xmlns:library="http://openoffice.org/2000/library">
 <library:library library:name="Standard" library:link="false"/>
</library:libraries>
"""
_LIBRARY_XML = """<?xml version="1.0" encoding="UTF-8"?>
<library:library xmlns:library="http://openoffice.org/2000/library"
 library:name="Standard" library:readonly="true" library:passwordprotected="false">
 <library:element library:name="Page"/>
</library:library>
"""
_MODULE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<script:module xmlns:script="http://openoffice.org/2000/script"
 script:name="Page" script:language="StarBasic">{}</script:module>
"""

_BASIC = """
Dim locked As Boolean
Dim code As Long

Sub Say(text As String)
  Dim file As Integer
  file = FreeFile
  Open Environ("PAGE_SAID") For Output As #file
  Print #file, text
  Close #file
End Sub

Function Item(label As String, content)
  Dim property As New com.sun.star.beans.PropertyValue
  property.Name = label
  property.Value = content
  Item = property
End Function

' Questions that somebody would be asked, had this a window. None is answered, which is a no.
Sub ask_handle(request)
  Dim asked
  asked = request.getRequest()
  If InStr(asked.Dbg_Properties, "PasswordRequest") > 0 Then locked = True
  If InStr(asked.Dbg_Properties, "ErrorCodeRequest") > 0 Then code = asked.ErrCode
End Sub
Sub ask_disposing(event)
End Sub

Sub Draw
  Dim document, pages, filter, asking, only, number, slide
  On Error GoTo failed
  ' Between its steps Basic would look for events, as for the windows of comments, which cannot be
  ' made without a screen. None are left once the document is closed.
  EnableReschedule(False)
  asking = CreateUnoListener("ask_", "com.sun.star.task.XInteractionHandler")
  document = StarDesktop.loadComponentFromURL(Environ("PAGE_OF"), "_blank", 0, Array( _
    Item("FilterName", Environ("PAGE_READ_AS")), Item("Hidden", True), Item("ReadOnly", True), _
    Item("MacroExecutionMode", 0), Item("UpdateDocMode", 0), Item("InteractionHandler", asking)))
  If IsNull(document) Then GoTo failed
  If document.supportsService("com.sun.star.sheet.SpreadsheetDocument") Then
    filter = "calc"
  ElseIf document.supportsService("com.sun.star.text.GenericTextDocument") Then
    filter = "writer"
  ElseIf document.supportsService("com.sun.star.presentation.PresentationDocument") Then
    filter = "impress"
  Else
    filter = "draw"
  End If
  number = CLng(Environ("PAGE_NUMBER"))
  If filter = "impress" Then
    ' Slides that are hidden are left out, as when they are shown and printed.
    pages = 0
    For slide = 1 To document.DrawPages.Count
      If document.DrawPages(slide - 1).Visible Then
        pages = pages + 1
        If pages = CLng(Environ("PAGE_NUMBER")) Then number = slide
      End If
    Next
  Else
    pages = document.getRendererCount(document, Array())
  End If
  Say "pages " & pages
  If CLng(Environ("PAGE_NUMBER")) > pages Then
    document.close(True)
    Exit Sub
  End If
  only = Array(Item("PageRange", CStr(number)), Item("ExportFormFields", False), _
    Item("ExportNotes", False), _
    Item("ExportBookmarks", False), Item("UseTaggedPDF", False))
  document.storeToURL(Environ("PAGE_AS"), Array( _
    Item("FilterName", filter & "_pdf_Export"), Item("FilterData", only)))
  document.close(True)
  Exit Sub
failed:
  If locked Then
    Say "locked"
  ElseIf Err <> 0 Then
    Say "failed " & Error$
  Else
    Say "failed " & code
  End If
End Sub
"""
"""What is done with a document. A macro of the profile's own is the one way to LibreOffice's whole
interface that takes neither its Python nor a socket.
"""


def libreoffice_lacks() -> str | None:
    """Say what of LibreOffice is missing, and which packages have it; None where nothing is."""
    missing = [part for name, part in _PARTS.items() if not (INSTALLED / name).exists()]
    if not _IMPRESS.exists():
        missing.append("impress")
    if not missing:
        return None
    packages = ", ".join(f"libreoffice-{part}-nogui" for part in missing)
    return f"LibreOffice is not installed, or not whole (Debian: {packages})"


def write_pdf(document: Path, read_as: str, number: int, pdf: Path) -> int:
    """Write one page of a document as a PDF of one page, and return how many pages there are.

    LibreOffice runs in this very process, which it ends for good: nothing else can be begun in the
    sandbox, and its own program wants a socket.

    Args:
        document: The document.
        read_as: Its filter, by LibreOffice's name: it does not guess, and has no others to try.
        number: The page.
        pdf: Where to. What else it writes goes beside it.

    Raises:
        NoPage: there are not as many pages.
        UndrawableDocument: LibreOffice cannot read it.
    """
    said = pdf.with_suffix(".txt")
    os.environ |= {
        "PAGE_OF": document.as_uri(),
        "PAGE_READ_AS": read_as,
        "PAGE_NUMBER": str(number),
        "PAGE_AS": pdf.as_uri(),
        "PAGE_SAID": str(said),
        # Where a machine's own extensions are: none are loaded.
        "UNO_SHARED_PACKAGES_CACHE": (pdf.parent / "profile/none").as_uri(),
    }
    with setting_up(pdf.parent):
        kit = _started(_profile(pdf.parent / "profile"))
    _run_macro(kit)
    words = said.read_text(encoding="utf-8", errors="replace").split() if said.exists() else []
    print("LibreOffice:", *words, flush=True)
    match words:
        case ["pages", count] if int(count) < 1:
            raise UndrawableDocument(EMPTY)
        case ["pages", count] if int(count) < number:
            raise NoPage(int(count))
        case ["pages", count] if pdf.exists():
            return int(count)
        case ["locked"]:
            raise UndrawableDocument(LOCKED)
        case _:
            raise UndrawableDocument(TOO_LARGE if _is_memory_used_up() else DAMAGED)


def _is_memory_used_up() -> bool:
    """Whether that is what LibreOffice failed for: it takes that for a fault of the document."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return limit != resource.RLIM_INFINITY and most > limit * _MUCH


def _profile(folder: Path) -> Path:
    basic = folder / "user/basic/Standard"
    basic.mkdir(parents=True)
    settings = "".join(_SETTING_XML.format(*setting) for setting in _SETTINGS)
    for file, text in {
        folder / "user/registrymodifications.xcu": _SETTINGS_XML.format(settings),
        basic.parent / "script.xlc": _LIBRARIES_XML,
        basic / "script.xlb": _LIBRARY_XML,
        basic / "Page.xba": _MODULE_XML.format(escape(_BASIC)),
    }.items():
        file.write_text(text, encoding="utf-8")
    return folder


def _started(profile: Path) -> ctypes.c_void_p:
    """Start LibreOffice by LibreOfficeKit, which is a table of functions in C; return that."""
    library = ctypes.CDLL(str(INSTALLED / _LIBRARY), mode=ctypes.RTLD_GLOBAL)
    begin = library.libreofficekit_hook_2
    begin.restype, begin.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    kit = begin(str(INSTALLED).encode(), profile.as_uri().encode())
    if not kit:
        raise OSError("LibreOffice does not start")
    # From here on it is what its own program is without a screen. As a kit it would make windows
    # for formulas, of which packages without a screen have no descriptions.
    set_active = library[_SET_ACTIVE]
    set_active.restype, set_active.argtypes = None, [ctypes.c_bool]
    set_active(False)
    # Its threads are still there at the end, and would stumble over what is taken down. Where it
    # failed, that is in the report by then.
    atexit.register(os._exit, 0)
    return ctypes.c_void_p(kit)


def _run_macro(kit: ctypes.c_void_p) -> None:
    functions = ctypes.cast(kit, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(functions[_RUN_MACRO])
    if not run(kit, b"macro:///Standard.Page.Draw"):
        error = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)(functions[_GET_ERROR])(kit)
        print("LibreOffice did not run its macro:", error, flush=True)
