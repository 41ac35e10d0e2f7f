"""Which message an exchange's answer belongs to, and when a message is answered."""

from __future__ import annotations

from services.collector.questions import Questions
from services.shared.exchanges.declaration import Reply


def test_an_answer_by_id_confirms_every_stream_of_its_message() -> None:
    questions = Questions()
    first, second = questions.ask(1, ["a", "b"]), questions.ask(2, ["c"])
    assert questions.take(Reply(2, None)) == [second]
    assert (second.confirmed, first.confirmed, len(questions)) == (["c"], [], 1)
    assert questions.take(Reply(2, None)) is None
    assert questions.take(Reply(1, None)) == [first]
    assert (first.confirmed, len(questions)) == (["a", "b"], 0)


def test_a_message_is_answered_when_each_of_its_streams_is() -> None:
    questions = Questions()
    question = questions.ask(1, ["a", "b", "c"])
    assert questions.take(Reply(None, None, ("c",))) == []
    assert questions.take(Reply(None, None, ("c",))) is None, "told twice"
    assert questions.take(Reply(None, "no such symbol", ("a",))) == []
    assert questions.take(Reply(None, None, ("b", "x"))) == [question]
    assert question.confirmed == ["b", "c"]
    assert question.refused == {"a": "no such symbol"}
    assert question.error is None


def test_an_answer_with_id_and_names_is_about_these_streams_of_that_message() -> None:
    questions = Questions()
    question = questions.ask(7, ["a", "b"])
    assert questions.take(Reply(7, None, ("a",))) == []
    assert questions.take(Reply(7, None, ("b",))) == [question]


def test_an_error_without_names_refuses_the_message_as_a_whole() -> None:
    questions = Questions()
    question = questions.ask(1, ["a", "b"])
    questions.take(Reply(None, None, ("a",)))
    assert questions.take(Reply(1, "too many requests")) == [question]
    assert (question.error, question.confirmed) == ("too many requests", [])


def test_an_answer_without_id_and_names_is_about_the_oldest_message() -> None:
    questions = Questions()
    first, second = questions.ask(1, ["a"]), questions.ask(2, ["b"])
    assert questions.take(Reply(None, None)) == [first]
    assert questions.take(Reply(None, "bad")) == [second]
    assert questions.take(Reply(None, None)) is None


def test_what_nobody_asked_belongs_to_nothing() -> None:
    questions = Questions()
    questions.forget(questions.ask(1, ["a"]))
    assert questions.take(Reply(1, None)) is None
    assert questions.take(Reply(None, None, ("a",))) is None
    assert questions.take(Reply(99, "never asked")) is None


def test_what_is_not_answered_in_time_is_refused_if_anything_was_answered() -> None:
    questions = Questions()
    question = questions.ask(1, ["a", "b"])
    assert not question.give_up("late")
    questions.take(Reply(1, None, ("b",)))
    assert question.give_up("late")
    assert (question.confirmed, question.refused, question.complete) == (["b"], {"a": "late"}, True)


def test_what_is_confirmed_is_news_once() -> None:
    questions = Questions()
    question = questions.ask(1, ["a", "b", "c"])
    questions.take(Reply(None, None, ("b",)))
    assert (question.news(), question.news()) == (["b"], [])
    questions.take(Reply(None, "no such symbol", ("a",)))
    questions.take(Reply(None, None, ("c",)))
    assert (question.news(), question.confirmed) == (["c"], ["b", "c"])
