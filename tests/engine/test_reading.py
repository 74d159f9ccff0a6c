"""Threads that read images: their results, those that hang, images that cannot be read."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import weakref

import pytest

from srkit.engine import reading
from srkit.engine.reading import BadImages, Hung, Readers, Watch
from srkit.errors import InputRejected
from tests.conftest import HANGS


def test_readers_give_results_and_errors_of_every_kind():
    readers = Readers(2)
    assert [readers.submit(pow, 2, n).result() for n in range(4)] == [1, 2, 4, 8]
    for kind in (ValueError, SystemExit, KeyboardInterrupt):

        def fail(kind=kind):
            raise kind("x")

        with pytest.raises(kind):
            readers.submit(fail).result()
    readers.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("srkit-reader")]


def test_readers_that_nobody_has_any_more_end():
    readers = Readers(1)
    thread = readers._threads[0]
    gone = weakref.ref(readers)
    del readers
    assert gone() is None
    thread.join(HANGS)
    assert not thread.is_alive()


def test_a_timeout_of_the_work_itself_is_the_works(monkeypatch):
    def late():
        raise TimeoutError("of the disk")

    readers = Readers(1)
    with pytest.raises(TimeoutError, match="of the disk"):
        Watch(str).result(readers.submit(late))
    readers.close()


def test_a_slow_batch_of_images_that_come_one_by_one_is_waited_for(monkeypatch):
    """Each image begins the clock anew: the batch takes longer than an image may."""
    monkeypatch.setattr(reading, "PATIENCE", 0.2)
    readers, watch, event = Readers(1), Watch(str), threading.Event()

    def work():
        for image in range(8):
            watch.begins(image)
            event.wait(0.05)
        watch.ends()
        return "all"

    assert watch.result(readers.submit(work)) == "all"
    readers.close()


HANGING = """
    import srkit, sys, threading
    from srkit.engine import reading
    from srkit.engine.data.pools import each_image
    reading.PATIENCE = 0.2

    def read(index):
        if index == 2:
            threading.Event().wait()
        return index

    try:
        each_image(read, range(4), threads=int(sys.argv[1]), name="abcd".__getitem__)
    except reading.Hung as error:
        print(error)
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_read_that_hangs_is_named_and_the_process_ends(threads):
    command = [sys.executable, "-c", textwrap.dedent(HANGING), str(threads)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    text = "c: has been read for 0.2 s, and nothing came; look at its disk, and at what reads it\n"
    assert (run.stdout, run.stderr, run.returncode) == (text, "", 0)


def test_hung_is_a_run_that_failed():
    assert Hung("x").exit_code == 1


def test_a_bad_image_is_its_error_unless_it_is_to_be_replaced(caplog):
    error = InputRejected("a.png", "is empty")
    with pytest.raises(InputRejected) as raised:
        BadImages("fail", 5_000).take(0, error)
    assert raised.value is error
    bad = BadImages("replace", 3_000)
    assert bad.lines() == []
    for index in (7, 7, 1, 9):
        bad.take(index, InputRejected(f"{index}.png", "is empty"))
    assert (len(bad), sorted(bad.indices)) == (3, [1, 7, 9])
    assert caplog.messages == [f"{n}.png: is empty; other images are taken in its place" for n in (7, 1, 9)]
    assert bad.lines() == [
        "3 of 3,000 images could not be read, and others took their place:",
        "  1.png: is empty",
        "  7.png: is empty",
        "  9.png: is empty",
    ]
    with pytest.raises(InputRejected) as raised:
        bad.take(2, InputRejected("2.png", "is empty"))
    assert str(raised.value) == (
        "7.png: is empty\n1.png: is empty\n9.png: is empty\n2.png: is empty\n"
        "4 of 3,000 images cannot be read: more than 0.1% are not replaced"
    )


def test_of_few_images_none_is_replaced():
    with pytest.raises(InputRejected) as raised:
        BadImages("replace", 999).take(0, InputRejected("a.png", "is empty"))
    assert str(raised.value) == "a.png: is empty\n1 of 999 images cannot be read: more than 0.1% are not replaced"
