"""What was asked of the exchange on one connection and not answered yet. Pure.

An exchange answers a message as a whole, by the request's id, or stream by stream, by their names; one that gives
neither answers in order. A message is answered when each of its streams is.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.shared.exchanges.declaration import Reply


class Question:
    """One message about `names`. `confirmed` and `refused` (name -> the exchange's words) grow with the answers."""

    def __init__(self, number: int, names: Sequence[str], subscribing: bool) -> None:
        self.number = number
        self.names = list(names)
        self.subscribing = subscribing
        """Whether it asks for the streams, or for their end."""
        self.refused: dict[str, str] = {}
        self.error: str | None = None
        """The whole message was refused."""
        self._missing = dict.fromkeys(names)
        self._told: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return self.error is not None or not self._missing

    @property
    def confirmed(self) -> list[str]:
        """The streams that were accepted so far, in the order they were asked for."""
        if self.error is not None:
            return []
        return [name for name in self.names if name not in self._missing and name not in self.refused]

    def news(self) -> list[str]:
        """Return those of `confirmed` that were not among the news before."""
        found = [name for name in self.confirmed if name not in self._told]
        self._told.update(found)
        return found

    def give_up(self, error: str) -> bool:
        """Take what was not answered for refused; False, and nothing is changed, when no stream was."""
        if len(self._missing) == len(self.names):
            return False
        self.refused |= dict.fromkeys(self._missing, error)
        self._missing = {}
        return True

    def hears_of(self, names: Sequence[str]) -> bool:
        """Whether one of these streams is still to be answered here."""
        return any(name in self._missing for name in names)

    def take(self, reply: Reply) -> None:
        """Take an answer that is about this message or some of its streams."""
        if not reply.names:
            self.error = reply.error
        for name in reply.names or self.names:
            if name in self._missing:
                del self._missing[name]
                if reply.error is not None:
                    self.refused[name] = reply.error


class Questions:
    """The messages that wait for answers, oldest first."""

    def __init__(self) -> None:
        self._open: dict[int, Question] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._open)

    def ask(self, number: int, names: Sequence[str], *, subscribing: bool = True) -> Question:
        """Remember a message that is about to be sent."""
        question = self._open[number] = Question(number, names, subscribing)
        return question

    def forget(self, question: Question) -> None:
        """Expect no answer any more."""
        self._open.pop(question.number, None)

    def take(self, reply: Reply) -> list[Question] | None:
        """Return the messages that are answered in full by this reply; None when it belongs to none that waits."""
        about = self._about(reply)
        for question in about:
            question.take(reply)
            if question.complete:
                self.forget(question)
        return [question for question in about if question.complete] if about else None

    def _about(self, reply: Reply) -> list[Question]:
        found = None if reply.request_id is None else self._open.get(reply.request_id)
        if found is not None:
            return [found]
        if reply.names:
            return [question for question in self._open.values() if question.hears_of(reply.names)]
        # Without id and names it is about the oldest: a connection's answers come in the order of its messages.
        return list(self._open.values())[:1] if reply.request_id is None else []
