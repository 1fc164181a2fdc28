"""How long a training took: not counted while others compute, added up over sessions, told apart from wall time."""

import os
import subprocess
import sys
import time

import pytest
import torch

from kd_bench.ledger.clock import NOTHING, PROCESSOR, TIME_FILE, WALL, Spent, Watch, read_spent, write_spent

BUSY = "import time\nwhile time.process_time() < 0.3: pass"


@pytest.mark.skipif(torch.cuda.is_available(), reason="next to a GPU it is wall time")
def test_waiting_is_no_work_and_that_of_ended_processes_counts():
    watch = Watch()
    time.sleep(0.3)
    waited = watch.seconds()
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    ended = watch.seconds()
    until = sum(os.times()[:2]) + 0.2
    while sum(os.times()[:2]) < until:
        pass
    assert watch.clock == PROCESSOR
    assert waited < 0.15 and ended - waited > 0.25 and watch.seconds() - ended >= 0.15


def test_sessions_add_up_unless_their_clocks_differ():
    first = NOTHING.plus(2.0, PROCESSOR)
    assert first.plus(3.0, PROCESSOR) == Spent(5.0, PROCESSOR) and first.comparable
    assert Spent(2.0, WALL).plus(3.0, PROCESSOR) == Spent(5.0, WALL)


def test_a_folder_remembers_it(tmp_path):
    assert read_spent(tmp_path) == NOTHING
    write_spent(tmp_path, Spent(12.34, PROCESSOR))
    assert read_spent(tmp_path) == Spent(12.3, PROCESSOR)
    (tmp_path / TIME_FILE).write_text("98.7")  # of an older run
    assert read_spent(tmp_path) == Spent(98.7, WALL) and not read_spent(tmp_path).comparable
