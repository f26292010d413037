"""What people say on Telegram: presses, replies and commands. Only listed user ids are heard, and those of persons."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from html import escape

from aiogram import Router
from aiogram.exceptions import AiogramError
from aiogram.filters import Command, CommandObject
from aiogram.types import BufferedInputFile, CallbackQuery, Message, ReplyParameters, User

from aegis_core.channels import texts as words
from aegis_core.channels.telegram.buttons import Buttons
from aegis_core.channels.telegram.message import fitting
from aegis_core.channels.telegram.settings import TelegramSettings, message_ref
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.people import may
from aegis_core.governor.tenant import ChannelStore
from aegis_core.protocol.approvals import Approval, Decision
from aegis_core.protocol.errors import AegisError, ConflictError, InvalidRequestError, NotFoundError, StoreError
from aegis_core.protocol.people import PersonRole
from aegis_core.protocol.plan_edits import looks_like_an_edit, plan_edit
from aegis_core.protocol.writing import told_name

_MOST_REASON = 500
_MOST_ALERT = 200
"""Characters that Telegram shows of an answer to a press."""
_LISTED = 10
_FRESH, _LOOKS, _PAUSE = timedelta(seconds=10), 10, 0.1
"""An answer to a message that is so young is looked up so often, with so many seconds between."""
_SEEN_HERE = frozenset({"forged_button", "old_button", "not_found"})
"""What is refused before anything is decided."""

HELP = """\
<b>Aegis asks here before agents do what needs a person.</b>
Press APPROVE or REJECT below a message, or reply to it to reject with a reason.
To make the plan of a workflow smaller, reply to its message: budget 8, step 2 3, step 2 $0.50 or time 30m.

/pending – what waits for a decision
/budget AGENT – what is left of an agent's budgets
/block AGENT – refuse an agent from its next request on
/help – this text"""


class Handlers:
    """Hears operators in the approvals' chat, and their commands in a private chat with the bot too."""

    def __init__(
        self,
        settings: TelegramSettings,
        governor: ResourceGovernor,
        channel_store: ChannelStore,
        buttons: Buttons,
        names: dict[str, str],
    ) -> None:
        self._chat, self._operators = settings.chat, settings.operators
        self._governor, self._store, self._buttons, self._names = governor, channel_store, buttons, names

    def router(self) -> Router:
        """All handlers; the first whose filter holds is the one that hears."""
        router = Router()
        router.callback_query.register(self._press_of_stranger, self._is_stranger)
        router.callback_query.register(self._press)
        router.message.register(self._word_of_stranger, self._is_stranger)
        router.message.register(self._help, Command("help", "start"))
        router.message.register(self._pending, Command("pending"))
        router.message.register(self._budget, Command("budget"))
        router.message.register(self._block, Command("block"))
        router.message.register(self._reply, self._is_reply_to_approval)
        router.message.register(self._reply_elsewhere, self._is_reply_to_bot)
        return router

    async def _is_stranger(self, said: Message | CallbackQuery) -> bool:
        """Neither listed nor a person's; or in a chat that is neither the approvals' nor the person's own."""
        if said.from_user is None or not await self._may(said.from_user, "viewer"):
            return True
        message = said.message if isinstance(said, CallbackQuery) else said
        if message is None:
            return True
        own = isinstance(said, Message) and message.chat.id == said.from_user.id
        return message.chat.id != self._chat and not own

    async def _may(self, user: User, needed: PersonRole) -> bool:
        """Whether the person behind a user id may do what a role may. One that is listed and nobody's: an operator."""
        who, person = await self._governor.operator.people.behind(_who(user))
        if person is None:
            return who != "" and user.id in self._operators
        return person.removed_at is None and may(person.role, needed)

    async def _press_of_stranger(self, query: CallbackQuery) -> None:
        first = await self._store.refuse(_who(query.from_user), "button")
        with suppress(AiogramError):  # without text it only ends the button's waiting
            await query.answer(_stranger(query.from_user, None) if first else None, show_alert=first or None)

    async def _word_of_stranger(self, message: Message) -> None:
        """Commands, replies to the bot and what is said to it alone; other talk in a group is none of its matter."""
        text = message.text or ""
        private = message.chat.type == "private"
        if message.from_user is None or not (text.startswith("/") or private or _answers_bot(message)):
            return
        act = text.split()[0].split("@")[0][:32] if text.startswith("/") else "message"
        if await self._store.refuse(_who(message.from_user), "command" if act.startswith("/") else act):
            await _say(message, escape(_stranger(message.from_user, message.chat.id)))

    async def _press(self, query: CallbackQuery) -> None:
        """Decide as the button says. Whatever comes of it, the person is told."""
        try:
            approval = await self._approval_of(query)
            press, _ = self._buttons.named(query.data or "")
            if press == "file":
                said = await self._send_file(approval, query)
            else:
                said = await self._decide(approval, press, query.from_user, "")
        except AegisError as error:
            said = await self._refused(query.from_user, error)
        with suppress(AiogramError):  # the answer is a courtesy; the message itself is edited by the courier
            await query.answer(said[:_MOST_ALERT], show_alert=True)

    async def _send_file(self, approval: Approval, query: CallbackQuery) -> str:
        """All of the arguments as a reply to the message that asks; of an edited request those before, too."""
        message, texts = query.message, {"arguments": approval.arguments}
        if approval.original is not None and approval.original.arguments:
            texts["arguments-before"] = approval.original.arguments
        if message is None or query.bot is None or not approval.arguments:
            return "The arguments are no longer kept."
        reply = ReplyParameters(message_id=message.message_id, allow_sending_without_reply=True)
        try:
            for name, text in texts.items():
                file = BufferedInputFile(text.encode(), f"{approval.approval_id}-{name}.json")
                await query.bot.send_document(message.chat.id, file, reply_parameters=reply)
        except AiogramError:
            return "Telegram did not take the file. `aegis approvals show` shows all."
        return "Sent."

    async def _approval_of(self, query: CallbackQuery) -> Approval:
        data = query.data or ""
        _, approval_id = self._buttons.named(data)
        try:
            approval = await self._governor.approvals.get(approval_id)
        except NotFoundError:
            raise NotFoundError("This button is too old: its approval is over.", code="old_button") from None
        self._buttons.verify(data, approval)
        return approval

    async def _reply(self, message: Message, approval_id: str) -> None:
        """Reject with the reply's words as the reason, or make a plan smaller where they say how."""
        user, reason = message.from_user, (message.text or message.caption or "").strip()
        if user is None:
            return
        try:
            if not reason:
                said = "A reply rejects with its words as the reason, and this one has none. Nothing was decided."
            else:
                approval = await self._governor.approvals.get(approval_id)
                if approval.plan is not None and looks_like_an_edit(reason):
                    said = await self._edit(approval.plan.workflow_id, user, reason)
                else:
                    said = await self._decide(approval, "reject", user, words.shortened(reason, _MOST_REASON))
        except AegisError as error:
            said = await self._refused(user, error)
        await _say(message, escape(said))

    async def _is_reply_to_approval(self, message: Message) -> bool | dict[str, str]:
        """A reply to a message that announced an approval here; says which."""
        answered = message.reply_to_message
        if answered is None or message.chat.id != self._chat or (message.text or "").startswith("/"):
            return False
        looks = _LOOKS if _answers_bot(message) and message.date - answered.date < _FRESH else 1
        for left in reversed(range(looks)):  # what was sent a moment ago is perhaps noted down just now
            number = answered.message_id
            for ref in (message_ref(self._chat, number), str(number)):  # older versions wrote down the number alone
                if approval_id := await self._store.approval_of(ref):
                    return {"approval_id": approval_id}
            if left:
                await asyncio.sleep(_PAUSE)
        return False

    async def _is_reply_to_bot(self, message: Message) -> bool:
        return _answers_bot(message) and not (message.text or "").startswith("/")

    async def _reply_elsewhere(self, message: Message) -> None:
        """A reply to a reminder, or to an answer: what it is about is not certain, so nothing is decided."""
        await _say(message, "Nothing was decided. To reject with a reason, reply to the message that asks.")

    async def _decide(self, approval: Approval, decision: Decision, user: User, reason: str) -> str:
        if approval.status != "open":
            raise ConflictError(f"It is decided already. {words.outcome(approval, self._names)}", code="old_button")
        approvals = self._governor.approvals
        seen = approval.content  # which is what the message shows, else its button were not good
        decided = await approvals.decide(approval.approval_id, decision, by=_who(user), reason=reason, content=seen)
        if decided.status == "open":
            return f"Noted. {decided.missing} more must approve."
        return words.outcome(decided, self._names)

    async def _edit(self, workflow_id: str, user: User, text: str) -> str:
        """Make a plan smaller, before it is approved or after. The script says whether this person may."""
        workflows = self._governor.workflows
        try:
            change = plan_edit(text, (await workflows.get(workflow_id)).content)
            found = await workflows.change(workflow_id, change, by=_who(user))
        except InvalidRequestError as error:
            raise InvalidRequestError(
                f"{error.message}. Nothing was changed or decided. To reject with a reason, begin with another word.",
                field=error.field,
            ) from None
        steps = "; ".join(
            f"{number}. {what}: {often}, {upto}" for number, what, often, upto in words.plan_rows(found.plan)
        )
        lasts = words.plan_facts(found.plan)["lasts"]
        state = "It waits for a decision." if found.state == "pending" else "It is in force."
        return f"Edited: {words.dollars(found.plan.budget_usd)} in all, {lasts}. {steps}. {state}"

    async def _refused(self, user: User, error: AegisError) -> str:
        """What the person is told; and a trace of it, unless the approvals left one."""
        if isinstance(error, StoreError):
            return "The governor's store cannot be reached. Nothing was decided; try again."
        if error.code in _SEEN_HERE:
            with suppress(AegisError):
                await self._store.refuse(_who(user), error.code)
        return error.message

    async def _help(self, message: Message) -> None:
        await _say(message, HELP)

    async def _pending(self, message: Message) -> None:
        async def answer() -> str:
            found = await self._governor.approvals.list("open", limit=_LISTED + 1)
            if not found:
                return "Nothing waits for a decision."
            lines = [
                f"<code>{one.approval_id}</code> {escape(told_name(one.agent_id))} {words.dollars(one.amount_usd)} "
                f"until {words.clock(one.deadline)}: {escape(words.shortened(one.intent, 80))}"
                for one in found[:_LISTED]
            ]
            return "\n".join(lines + (["… and more"] if len(found) > _LISTED else []))

        await self._answer(message, answer)

    async def _budget(self, message: Message, command: CommandObject) -> None:
        async def answer() -> str:
            if not command.args:
                return "Say whose: /budget AGENT"
            report = await self._governor.budget(command.args.strip())
            lines = [
                f"{escape(one.scope)} {escape(one.name)} {escape(one.window)}: {words.dollars(one.remaining_usd)} "
                f"left of {words.dollars(one.limit_usd)}"
                for one in report.budgets
            ]
            return "\n".join([f"<b>{escape(told_name(report.agent_id))}</b>", *lines])

        await self._answer(message, answer)

    async def _block(self, message: Message, command: CommandObject) -> None:
        async def answer() -> str:
            if not command.args or message.from_user is None:
                return "Say whom: /block AGENT"
            if not await self._may(message.from_user, "operator"):
                return "This takes the role operator; an owner gives it (aegis people set NAME --role operator)."
            agent = command.args.strip()
            found = await self._governor.operator.block(agent, author=_who(message.from_user))
            declined = sum(one.state == "declined" for one in found)
            return (
                f"<b>{escape(told_name(agent))}</b> is blocked. {declined} questions were declined, "
                f"{len(found) - declined} grants are live. It goes on with: aegis unblock {escape(agent)}"
            )

        await self._answer(message, answer)

    async def _answer(self, message: Message, make: Callable[[], Awaitable[str]]) -> None:
        try:
            text = await make()
        except AegisError as error:
            text = escape(error.message)
        await _say(message, text)


async def _say(message: Message, text: str) -> None:
    """Answer. What cannot be delivered now is not worth a queue: the person asks again."""
    with suppress(AiogramError):
        await message.reply(fitting(text), allow_sending_without_reply=True)


def _who(user: User) -> str:
    return f"telegram:{user.id}"


def _answers_bot(message: Message) -> bool:
    """It replies to a message of the bot's own."""
    answered = message.reply_to_message
    author = answered.from_user if answered is not None else None
    return author is not None and message.bot is not None and author.id == message.bot.id


def _stranger(user: User, chat: int | None) -> str:
    where = "" if chat is None else f" This chat's id is {chat}."
    return f"This bot hears its listed operators only. Your user id is {user.id}.{where}"
