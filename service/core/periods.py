"""Periods as settings write them: seconds and days, within bounds."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

#: Far from what a period may be, near enough that no sum of periods overflows.
LONGEST = timedelta(days=7)
_LONGEST_RETENTION = timedelta(days=3650)


def _seconds(value: object) -> object:
    if not isinstance(value, int | float | str):
        return value
    try:
        return timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        raise PydanticCustomError("seconds", "a number of seconds") from None


def _more_than_none(period: timedelta) -> timedelta:
    if period <= timedelta(0):
        raise PydanticCustomError("no_time", "more than 0 seconds")
    return period


def _within_bounds(period: timedelta) -> timedelta:
    if not timedelta(0) <= period <= LONGEST:
        raise PydanticCustomError("out_of_bounds", f"0 to {LONGEST.total_seconds():g} seconds")
    return period


def _days(value: object) -> object:
    if not isinstance(value, int | float | str):
        return value
    try:
        return timedelta(days=float(value))
    except (ValueError, OverflowError):
        raise PydanticCustomError("days", "a number of days") from None


def _within_a_retention(period: timedelta) -> timedelta:
    if not timedelta(0) <= period <= _LONGEST_RETENTION:
        raise PydanticCustomError("out_of_bounds", f"0 to {_LONGEST_RETENTION.days} days")
    return period


Days = Annotated[timedelta, BeforeValidator(_days), AfterValidator(_within_a_retention)]
SecondsOrNone = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_within_bounds)]
Seconds = Annotated[SecondsOrNone, AfterValidator(_more_than_none)]
