"""The vendor client: makes a release package, and reads the lists that tell whether one was made.

Takes a claimed batch and the end of its lease; leaves a report that the flow settles. What went wrong is
in the report: nothing but cancellation and our own faults is raised.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar, assert_never

from yarl import URL

from service.core.model import Batch
from service.core.outcomes import CallReport, NotSent, NotSentCause, Outcome, Rejected, Released
from service.core.place import Place
from service.gateways.vendor.answer import Answer, NoAnswer
from service.gateways.vendor.calls import (
    VendorCall,
    create_package_call,
    pending_items_call,
    release_package_call,
    release_packages_call,
)
from service.gateways.vendor.classify import Failure, classify_failure, is_success
from service.gateways.vendor.config import VendorConfig
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.gate import WriteGate, never_held
from service.gateways.vendor.hooks import NO_HOOKS, CallTimer, Hooks
from service.gateways.vendor.iam import Token
from service.gateways.vendor.identity import Identity
from service.gateways.vendor.judging import failure_of, outcome_of, skew_of
from service.gateways.vendor.lists import (
    BeforePage,
    Listing,
    PagingMemory,
    ReadFailed,
    RecordForm,
    page_members,
    read_all,
    read_detail,
)
from service.gateways.vendor.outgoing import Sender
from service.gateways.vendor.records import (
    PackageDetail,
    PendingItem,
    ReleasePackage,
    read_pending_item,
    read_release_package,
)
from service.gateways.vendor.spans import carrying, note_reply, open_call_span

__all__ = ["Forwarded", "VendorClient", "VendorConfig"]

AnyOutcome = TypeVar("AnyOutcome", Outcome, Failure)
_PENDING_ITEMS = RecordForm(read=read_pending_item, id_of=lambda item: item.pending_item_id)
_RELEASE_PACKAGES = RecordForm(read=read_release_package, id_of=lambda package: package.package_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What came of a call that was passed on: the answer untouched, and what it means where it is no success."""

    answer: Answer | None
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came back for a call, and the token that it carried, if that was its proof."""

    reply: Answer | NoAnswer
    token: Token | None


class VendorClient:
    """One set of credentials at one address, with its own connections; use it as ``async with``."""

    def __init__(self, config: VendorConfig, *, hooks: Hooks = NO_HOOKS) -> None:
        """Build a client; nothing is opened yet.

        Args:
            config: Where, as whom and within which bounds.
            hooks: What is told of calls, and asked before one is written.
        """
        self._config = config
        self._hooks = hooks
        self._exchange = Exchange(config)
        self._base_url = URL(config.base_url, encoded=True)
        sender = Sender(base_url=self._base_url, user_agent=config.user_agent)
        self._identity = Identity(config.auth, sender, exchange=self._exchange)
        self._paging = PagingMemory()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._closing.enter_async_context(self._exchange)
        self._closing.push_async_callback(self._identity.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def create_package(
        self, batch: Batch, *, deadline: float, is_held: Callable[[], Awaitable[bool]] = never_held
    ) -> CallReport:
        """Ask the vendor to make the release package of a batch; the call is made once at most.

        Args:
            batch: What to release, and under which name.
            deadline: Moment of ``time.monotonic()`` from which nothing is written: too little of the lease is left.
            is_held: Awaited right before the write; where it returns true nothing is written.
        """
        call = create_package_call(batch, max_bytes=self._config.max_answer_bytes)
        timer = CallTimer(call, self._hooks.on_call)
        gate = WriteGate(deadline, is_held=is_held, before_write=self._hooks.before_write)
        report = await self._create(call, gate)
        timer.end(report.outcome)
        return report

    async def _create(self, call: VendorCall, gate: WriteGate) -> CallReport:
        sent = await self._send(call, gate=gate)
        if isinstance(sent, NotSent):
            return CallReport(outcome=sent, sent_at=None)
        judged = outcome_of(sent.reply, gate, is_token_auth=sent.token is not None)
        outcome = self._learn(judged, sent.token)
        return CallReport(outcome=outcome, sent_at=gate.sent_at, clock_skew_seconds=skew_of(sent.reply))

    async def list_pending_items(
        self,
        project_id: str,
        workspace: str,
        *,
        item_name: str | None = None,
        before_page: BeforePage | None = None,
    ) -> Listing[PendingItem] | ReadFailed:
        """List the pending items of a workspace (ListFactoryPendingItems).

        Args:
            project_id: The project.
            workspace: The workspace.
            item_name: Part of the item's name.
            before_page: Awaited before every call, for a permit of the rate limiter.
        """
        place = Place(project_id=project_id, workspace=workspace)
        filters = () if item_name is None else (("item_name", item_name),)

        async def ask(offset: int) -> Answer | Failure:
            page = tuple((name, str(value)) for name, value in page_members(offset).items())
            call = pending_items_call(place, filters + page, max_bytes=self._config.max_list_bytes)
            return await self._read(call, before_page)

        return await read_all(ask, _PENDING_ITEMS, memory=self._paging, endpoint="pending-items")

    async def find_packages(
        self,
        project_id: str,
        workspace: str,
        *,
        key_word: str | None = None,
        before_page: BeforePage | None = None,
    ) -> Listing[ReleasePackage] | ReadFailed:
        """List the release packages of a workspace (ListFactoryReleasePackages), the newest first.

        Args:
            project_id: The project.
            workspace: The workspace.
            key_word: Part of the package name; compare the names found exactly.
            before_page: Awaited before every call, for a permit of the rate limiter.
        """
        place = Place(project_id=project_id, workspace=workspace)
        filters: dict[str, object] = {} if key_word is None else {"key_word": key_word}

        async def ask(offset: int) -> Answer | Failure:
            members = {**filters, **page_members(offset)}
            call = release_packages_call(place, members, max_bytes=self._config.max_list_bytes)
            return await self._read(call, before_page)

        return await read_all(ask, _RELEASE_PACKAGES, memory=self._paging, endpoint="release-packages")

    async def show_package(
        self, project_id: str, workspace: str, *, package_id: str, before_page: BeforePage | None = None
    ) -> PackageDetail | ReadFailed:
        """Show a release package and the items in it (ShowFactoryPackageDetail)."""
        place = Place(project_id=project_id, workspace=workspace)
        call = release_package_call(place, package_id, max_bytes=self._config.max_list_bytes)
        return read_detail(await self._read(call, before_page))

    async def forward(self, call: VendorCall) -> Forwarded:
        """Make a call on a caller's behalf, once; redirects are not followed."""
        timer = CallTimer(call, self._hooks.on_call)
        forwarded = await self._forward(call)
        outcome = forwarded.failure or forwarded.answer
        if outcome is not None:
            timer.end(outcome)
        return forwarded

    async def _forward(self, call: VendorCall) -> Forwarded:
        sent = await self._send(call)
        if isinstance(sent, NotSent):
            return Forwarded(answer=None, failure=sent)
        match sent.reply:
            case NoAnswer() as nothing:
                return Forwarded(answer=None, failure=failure_of(nothing))
            case Answer() as answer if is_success(answer):
                return Forwarded(answer=answer, failure=None)
            case Answer() as answer:
                return Forwarded(answer=answer, failure=self._classify_read(answer, sent.token))
            case _:
                assert_never(sent.reply)

    async def _read(self, call: VendorCall, before_page: BeforePage | None) -> Answer | Failure:
        """Read, and once more where the token had ended: a read changes nothing."""
        match await self._read_once(call, before_page):
            case NotSent(cause=NotSentCause.TOKEN):
                return await self._read_once(call, before_page)
            case read:
                return read

    async def _read_once(self, call: VendorCall, before_page: BeforePage | None) -> Answer | Failure:
        if before_page is not None:
            await before_page()
        timer = CallTimer(call, self._hooks.on_call)
        read = await self._read_unwatched(call)
        timer.end(read)
        return read

    async def _read_unwatched(self, call: VendorCall) -> Answer | Failure:
        sent = await self._send(call)
        if isinstance(sent, NotSent):
            return sent
        match sent.reply:
            case NoAnswer() as nothing:
                return failure_of(nothing)
            case Answer() as answer if is_success(answer):
                if sent.token is not None:
                    self._identity.remember_taken(sent.token)
                return answer
            case Answer() as answer:
                return self._classify_read(answer, sent.token)
            case _:
                assert_never(sent.reply)

    async def _send(self, call: VendorCall, *, gate: WriteGate | None = None) -> Sent | NotSent:
        """Make a call once, in a span of its own; without a proof of who we are it is not made."""
        with open_call_span(call, self._base_url) as span:
            proven = await self._identity.prove(carrying(call, span))
            if isinstance(proven, NotSent):
                span.fail(proven.cause.value)
                return proven
            reply = await self._exchange.send(proven.request, gate=gate)
            note_reply(span, reply, is_held_back=gate is not None and gate.holds_back)
        return Sent(reply=reply, token=proven.token)

    def _classify_read(self, answer: Answer, token: Token | None) -> Failure:
        return self._learn(classify_failure(answer, is_token_auth=token is not None), token)

    def _learn(self, outcome: AnyOutcome, token: Token | None) -> AnyOutcome:
        """Remember a token that was taken, forget one that was refused; a new one that is refused is no expiry."""
        if token is None:
            return outcome
        if not (isinstance(outcome, NotSent) and outcome.cause is NotSentCause.TOKEN):
            if isinstance(outcome, Released | Rejected):
                self._identity.remember_taken(token)
            return outcome
        self._identity.forget(token)
        return (
            outcome
            if self._identity.was_taken(token)
            else NotSent(cause=NotSentCause.AUTHENTICATION, error=outcome.error)
        )
