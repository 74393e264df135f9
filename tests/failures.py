"""All failures there are, and which of them a request for a picture can meet."""

from imgprocessor import errors
from imgprocessor.errors import ImageError

EVERY_ERROR: list[type[ImageError]] = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, ImageError) and hasattr(value, "code")
]

_OF_CHANGES_ALONE = {
    errors.NotAuthorized,
    errors.Forbidden,
    errors.WrongOffset,
    errors.UploadOver,
    errors.LengthRequired,
    errors.WrongTusVersion,
    errors.TooLarge,
    errors.UnsupportedUpload,
    errors.TooManyRequests,
    errors.UploadsUnavailable,
    errors.NotYetGone,
    errors.NotAllGone,
    errors.NoRoom,
    errors.NoSuchJob,
    errors.JobOver,
    errors.JobFailed,
}
"""What only a request can meet that changes uploads, or is about jobs."""

_IN_OWN_WORDS = {
    errors.Forbidden,
    errors.NoPreview,
    errors.NoSuchPage,
    errors.UndrawableDocument,
    errors.UnsupportedUpload,
}

OF_PICTURES = [error for error in EVERY_ERROR if error not in _OF_CHANGES_ALONE]


def an_error(kind: type[ImageError]) -> ImageError:
    """Return one of a kind; the detail of those that have one is `secret`."""
    if kind is errors.BadQuery:
        return errors.BadQuery(["width=x: wrong"])
    if kind is errors.TooLarge:
        return errors.TooLarge(5)
    if kind is errors.TooManyRequests:
        return errors.TooManyRequests(70, "secret")
    if kind is errors.JobFailed:
        return errors.JobFailed("It failed.")
    if kind in _IN_OWN_WORDS:
        return kind("You may not.", "secret")
    return kind("secret")
