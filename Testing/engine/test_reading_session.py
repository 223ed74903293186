"""A reader's session: order, blinding of the answers, breaks and crashes, washout."""

import datetime
import json
import resource
import signal
from contextlib import contextmanager

import pytest
from VirtualContrastLib.events import InputError
from VirtualContrastLib.reader_study import answers
from VirtualContrastLib.reader_study.session import draw, open_session
from VirtualContrastLib.reader_study.study_list import ReadingCase, ReadingList, load_list, write_list

START = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.UTC)


class Clock:
    """A time that only moves when it is told to."""

    def __init__(self):
        self.now_s = 0.0

    def now(self):
        return START + datetime.timedelta(seconds=self.now_s)

    def seconds(self):
        return self.now_s

    def days(self, number):
        self.now_s += 86400.0 * number


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cases(tmp_path):
    """Ten cases with a real and a synthetic image."""
    rows = [
        ReadingCase(f"C{n:02d}", f"secret/{kind}/{n}.png", kind) for n in range(10) for kind in ("real", "synthetic")
    ]
    return write_list(tmp_path / "list.csv", rows)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "answers").mkdir()
    return tmp_path / "answers"


def begin(cases, folder, clock, reader="R1", session=1, **options):
    return open_session(cases, folder, reader, session, now=clock.now, clock_s=clock.seconds, **options)


def read_all(session, clock, *, stop_after=None, bpe="b", lesion=False, guess="real"):
    """Answer the rest of a session, ten seconds each."""
    done = 0
    while not session.finished and done != stop_after:
        session.shown()
        clock.now_s += 10
        session.answer(bpe=bpe, lesion=lesion, guess=guess)
        done += 1


def test_order_is_random_but_the_same_again_for_a_reader_and_session_and_recorded(cases, folder, clock):
    orders = {(r, s): tuple(draw(cases, r, s)) for r in ("R1", "R2", "R3") for s in (1, 2)}
    assert len(set(orders.values())) == 6
    assert all(order != tuple(sorted(order)) for order in orders.values())
    session = begin(cases, folder, clock)
    plan = json.loads(session.log.path.read_text().splitlines()[0])
    assert tuple(plan["rows"]) == orders["R1", 1]
    assert plan["reader"] == "R1"
    assert plan["seed"] == session.log.plan.seed > 0


def test_a_session_shows_each_case_once_half_of_them_real_and_the_next_session_the_other_version(cases):
    for reader in ("R1", "R2", "R3", "R4"):
        first, second, third = (
            {(cases.cases[row].case, cases.cases[row].condition) for row in draw(cases, reader, s)} for s in (1, 2, 3)
        )
        assert len({case for case, _ in first}) == len(first) == 10
        assert sum(condition == "real" for _, condition in first) == 5
        assert first & second == set()
        assert len(first | second) == 20
        assert third == first


def test_a_case_with_one_image_comes_in_every_session(tmp_path):
    alone = ReadingList(tmp_path / "x", (ReadingCase("A", "a.png", "real"), ReadingCase("B", "b.png", "synthetic")))
    assert sorted(draw(alone, "R1", 1)) == sorted(draw(alone, "R1", 2)) == [0, 1]


def test_answers_and_file_names_do_not_tell_what_is_real(cases, folder, clock):
    session = begin(cases, folder, clock)
    read_all(session, clock, guess="synthetic")
    (file,) = folder.iterdir()
    plan, *events = file.read_text().splitlines()
    assert file.name == "reading_R1_session_1.jsonl"
    assert "real" not in plan
    assert "synthetic" not in plan
    assert "secret" not in file.read_text()
    assert all('"real"' not in event for event in events)  # only the guess, which was synthetic every time


def test_every_read_is_on_disk_with_its_time_and_a_crash_loses_none(cases, folder, clock):
    session = begin(cases, folder, clock)
    session.shown()
    clock.now_s += 12.34
    session.answer(bpe="d", lesion=True, guess="real", confidence=4, location_lps_mm=(1.0, -2.5, 3.0))
    session.shown()
    with session.log.path.open("ab") as file:
        file.write(b'{"row": 3, "bpe": "a", "les')  # cut off in the middle of the line
    again = begin(cases, folder, clock)
    assert again.position == 1
    assert again.row == session.log.plan.rows[1]
    kept = again.log.answers[session.log.plan.rows[0]]
    assert (kept.bpe, kept.lesion, kept.guess, kept.confidence) == ("d", True, "real", 4)
    assert kept.location_lps_mm == (1.0, -2.5, 3.0)
    assert kept.seconds == pytest.approx(12.3)
    assert kept.read_at == "2026-03-02T09:00:12+00:00"
    read_all(again, clock)
    whole = answers.load(again.log.path)
    assert whole.finished
    assert whole.shown[session.log.plan.rows[1]] == 2  # seen before the crash and after it


def test_a_session_goes_on_after_a_break_and_cannot_be_read_twice(cases, folder, clock):
    read_all(begin(cases, folder, clock), clock, stop_after=4)
    clock.days(3)
    session = begin(cases, folder, clock, washout_days=0)  # an old session keeps the washout that it began with
    assert session.position == 4
    assert session.log.plan.washout_days == 28
    read_all(session, clock)
    with pytest.raises(InputError, match=r"Session 1 of reader R1 is finished \(10 reads\)"):
        begin(cases, folder, clock)


def test_there_is_no_way_back_unless_it_is_allowed(cases, folder, clock):
    session = begin(cases, folder, clock)
    read_all(session, clock, stop_after=1)
    with pytest.raises(ValueError, match="not allowed"):
        session.go_back()
    free = begin(cases, folder, clock, "R2", allow_back=True)
    assert not free.can_go_back()
    read_all(free, clock, stop_after=2)
    free.go_back()
    assert free.earlier_answer.bpe == "b"
    free.shown()
    free.answer(bpe="c", lesion=True, guess="synthetic")
    assert free.position == 2
    log = answers.load(free.log.path)
    assert log.answers[free.log.plan.rows[1]].bpe == "c"
    assert log.given[free.log.plan.rows[1]] == 2


def test_the_washout_is_counted_from_the_end_of_the_last_session(cases, folder, clock):
    read_all(begin(cases, folder, clock), clock, stop_after=9)
    clock.days(10)
    read_all(begin(cases, folder, clock), clock)  # the last read was on day 10
    clock.days(20)
    with pytest.raises(InputError, match=r"saw case C00 and 9 more of session 2 in session 1, last on 2026-03-12; the "
                                         r"washout of 28 days ends on 2026-04-09"):  # fmt: skip
        begin(cases, folder, clock, session=2)
    begin(cases, folder, clock, "R2")  # another reader is not held up
    clock.days(8)
    assert begin(cases, folder, clock, session=2).position == 0


def test_another_spelling_of_the_reader_code_does_not_get_around_the_washout(cases, folder, clock):
    read_all(begin(cases, folder, clock, "r1"), clock)
    with pytest.raises(InputError, match="washout"):
        begin(cases, folder, clock, " R1", session=2)


def test_the_washout_holds_for_cases_of_another_list_in_the_same_folder(cases, folder, clock, tmp_path):
    read_all(begin(cases, folder, clock), clock)
    other = write_list(tmp_path / "other.csv", [ReadingCase("C03", "x.png", "real"), ReadingCase("N", "y.png", "real")])
    with pytest.raises(InputError, match="saw case C03 of session 2 in session 1"):
        begin(other, folder, clock, session=2)


def test_sessions_are_read_in_order_and_to_their_end(cases, folder, clock):
    with pytest.raises(InputError, match="has not read session 1 yet"):
        begin(cases, folder, clock, session=2)
    read_all(begin(cases, folder, clock), clock, stop_after=3)
    clock.days(40)
    with pytest.raises(InputError, match=r"has not finished session 1 \(3 of 10 read\)"):
        begin(cases, folder, clock, session=2)


def test_a_session_does_not_go_on_with_another_list_but_does_with_a_moved_one(cases, folder, clock, tmp_path):
    read_all(begin(cases, folder, clock), clock, stop_after=1)
    moved = write_list(tmp_path / "moved.csv", [ReadingCase(c.case, "elsewhere.png", c.condition) for c in cases.cases])
    assert begin(moved, folder, clock).position == 1
    shorter = write_list(tmp_path / "shorter.csv", cases.cases[:-1])
    with pytest.raises(InputError, match="began with another reading list"):
        begin(shorter, folder, clock)


@pytest.mark.parametrize("reader", ["", "Mary Miller", "../x", "reference", "R" * 21])
def test_a_name_or_path_is_no_reader_code(cases, folder, clock, reader):
    with pytest.raises(InputError, match="reader code must be"):
        begin(cases, folder, clock, reader)


def test_a_file_changed_by_hand_is_told(cases, folder, clock):
    session = begin(cases, folder, clock)
    read_all(session, clock, stop_after=2)
    session.log.path.write_text(session.log.path.read_text().replace('"bpe": "b"', '"bpe": "x"'))
    with pytest.raises(InputError, match="changed by hand"):
        begin(cases, folder, clock)


def test_an_answer_without_a_shown_image_or_outside_the_scales_is_refused(cases, folder, clock):
    session = begin(cases, folder, clock)
    with pytest.raises(ValueError, match="not shown"):
        session.answer(bpe="a", lesion=True, guess="real")
    session.shown()
    for wrong in ({"bpe": "e"}, {"lesion": "yes"}, {"guess": "fake"}, {"confidence": 6}):
        with pytest.raises(ValueError, match="not an answer"):
            session.answer(**{"bpe": "a", "lesion": True, "guess": "real", **wrong})
    assert session.position == 0
    assert load_list(cases.path).digest == cases.digest


@contextmanager
def files_of_at_most(size):
    """Writes beyond `size` bytes are cut short, as on a full disk."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 1, 10])
def test_an_answer_that_a_full_disk_cuts_off_leaves_the_others_and_can_be_given_again(cases, folder, clock, room):
    """Half a line would swallow the next answer and make the whole file unreadable."""
    session = begin(cases, folder, clock)
    read_all(session, clock, stop_after=2)
    log = session.log
    before = log.path.read_bytes()
    row = log.plan.rows[2]
    with files_of_at_most(len(before) + room), pytest.raises(InputError, match="could not be saved"):
        log.add_shown(row, "2026-03-02T09:01:00+00:00")
    assert log.path.read_bytes() == before
    read_all(session, clock)
    assert answers.load(log.path).finished
