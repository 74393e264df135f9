"""Regular expressions for numbers in a range.

Caches in front can match text, and most cannot compare numbers, or not as decimals: Varnish's
`std.real("0.7")` is not 0.7. So bounds become expressions. They are written for PCRE and Python's
`re` alike, need no backslash, and match whole texts only where `^` and `$` are put around them.
"""

from decimal import Decimal

NUMBER = r"[0-9]{1,5}(?:[.][0-9]{1,3})?"
"""What `values.parse_number` reads."""

_WHOLE_DIGITS = 5
_DECIMALS = 3
_ANY_DECIMALS = r"(?:[.][0-9]{1,3})?"


def literal(text: object) -> str:
    """Return an expression for a text that has no special characters but dots."""
    return str(text).replace(".", "[.]")


def at_least(bound: Decimal) -> str:
    """Return an expression for every spelling of a number, as `NUMBER`, that is not below."""
    whole, decimals = _parts(bound)
    larger = _whole_at_least(whole + 1, _WHOLE_DIGITS)
    equal = f"{whole}{_ANY_DECIMALS if decimals == '000' else _decimals_at_least(decimals)}"
    return _number(f"{larger}{_ANY_DECIMALS}|{equal}")


def at_most(bound: Decimal) -> str:
    """Return an expression for every spelling of a number, as `NUMBER`, that is not above."""
    whole, decimals = _parts(bound)
    equal = f"{whole}{_decimals_at_most(decimals)}"
    if whole == 0:
        return _number(equal)
    return _number(f"{_whole_at_most(whole - 1)}{_ANY_DECIMALS}|{equal}")


def whole_between(least: int, most: int) -> str:
    """Return an expression for every whole number in a range, without zeros before it. Neither
    this nor what it matches has a dot.
    """
    found: list[str] = []
    for digits in range(len(str(least)), len(str(most)) + 1):
        low = max(least, 10 ** (digits - 1) if digits > 1 else 0)
        found += _of_equal_length(str(low), str(min(most, 10**digits - 1)))
    return f"(?:{'|'.join(found)})" if found else "(?!)"


def _number(alternatives: str) -> str:
    return f"(?={NUMBER}(?![0-9.]))0*(?:{alternatives})"


def _parts(bound: Decimal) -> tuple[int, str]:
    """Return a bound's whole part, and its three decimals."""
    whole, _, decimals = f"{bound:f}".partition(".")
    return int(whole), decimals.ljust(_DECIMALS, "0")[:_DECIMALS]


def _whole_at_least(bound: int, digits: int) -> str:
    """Match without leading zeros, but for 0 itself."""
    text = str(bound)
    found = [text] if len(text) <= digits else []
    for place, digit in enumerate(text):
        if digit != "9" and len(text) <= digits:
            rest = _digits(len(text) - place - 1)
            found.append(f"{text[:place]}{_from_to(int(digit) + 1, 9)}{rest}")
    if len(text) < digits:
        found.append(f"[1-9][0-9]{{{len(text)},{digits - 1}}}")
    return f"(?:{'|'.join(found)})" if found else "(?!)"


def _whole_at_most(bound: int) -> str:
    """Match what may follow leading zeros."""
    text = str(bound)
    found = [text]
    for place, digit in enumerate(text):
        if digit != "0":
            rest = _digits(len(text) - place - 1)
            found.append(f"{text[:place]}{_from_to(0, int(digit) - 1)}{rest}")
    if len(text) > 1:
        found.append(f"[0-9]{{1,{len(text) - 1}}}")
    return f"(?:{'|'.join(found)})"


def _decimals_at_least(bound: str) -> str:
    """Match a point and decimals; what is not written is 0."""
    found = [f"{bound.rstrip('0')}0*"]
    for place, digit in enumerate(bound):
        if digit != "9":
            rest = f"[0-9]{{0,{_DECIMALS - place - 1}}}"
            found.append(f"{bound[:place]}{_from_to(int(digit) + 1, 9)}{rest}")
    return f"[.](?:{'|'.join(found)})"


def _decimals_at_most(bound: str) -> str:
    """Match nothing, or a point and decimals."""
    found = [bound[: length + 1] for length in range(_DECIMALS)]
    for place, digit in enumerate(bound):
        if digit != "0":
            rest = f"[0-9]{{0,{_DECIMALS - place - 1}}}"
            found.append(f"{bound[:place]}{_from_to(0, int(digit) - 1)}{rest}")
    return f"(?:[.](?:{'|'.join(found)}))?"


def _from_to(first: int, last: int) -> str:
    return str(first) if first == last else f"[{first}-{last}]"


def _of_equal_length(low: str, high: str) -> list[str]:
    """Return expressions for the numbers from one to another that has as many digits."""
    if not low:
        return [""]
    first, last = int(low[0]), int(high[0])
    if first == last:
        return [low[0] + rest for rest in _of_equal_length(low[1:], high[1:])]
    count, found = len(low) - 1, []
    if low[1:] != "0" * count:
        found += [low[0] + rest for rest in _of_equal_length(low[1:], "9" * count)]
        first += 1
    ending = []
    if high[1:] != "9" * count:
        ending = [high[0] + rest for rest in _of_equal_length("0" * count, high[1:])]
        last -= 1
    whole = [_from_to(first, last) + _digits(count)] if first <= last else []
    return found + whole + ending


def _digits(count: int) -> str:
    return f"[0-9]{{{count}}}" if count else ""
