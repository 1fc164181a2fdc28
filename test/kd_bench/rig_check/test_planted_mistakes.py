"""Planted mistakes: each changes the recording as its name says, and verdicts are judged against it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.real_data import real_data
from support.rig_bag import rendered_bag

from kd_bench.rig_check import cli
from kd_bench.rig_check.cli import Judgement
from kd_bench.rig_check.plants import plants
from kd_bench.rig_check.recordings import BASE_FRAME, Healthy, real_recordings
from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.mistake import Mistake
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.recording import read_recording


@pytest.fixture(scope="module")
def planted(request):
    recording = read_recording(rendered_bag(request))
    healthy = Healthy("rendered scene", recording, tuple(read_moments(recording, BASE_FRAME, 4)))
    return {one.name: one for one in plants(healthy, np.random.default_rng(0))}


def test_mistakes_change_what_they_say(planted):
    before, turned = planted["none"], planted["picture upside down"]
    (name,) = turned.cameras
    image = before.moments[0].views[name].image
    assert np.array_equal(turned.moments[0].views[name].image, image[::-1, ::-1])
    exchanged = planted["two cameras swapped"]
    first, second = exchanged.cameras
    assert exchanged.moments[0].views[first] is before.moments[0].views[second]
    thin = planted["cloud thinned 6 times"].moments[0].points
    assert 0.14 < len(thin) / len(before.moments[0].points) < 0.2
    late = planted["cloud's clock 1 s off"].moments
    assert late[0].points is before.moments[0].points and late[0].views is before.moments[2].views
    record = before.recording.cameras[0]
    of_all = planted["focal length, all cameras"].recording.camera(record, BASE_FRAME, 0)
    focal = of_all.intrinsics[0, 0] / before.recording.camera(record, BASE_FRAME, 0).intrinsics[0, 0]
    assert focal == pytest.approx(0.9) or focal == pytest.approx(1 / 0.9)


def test_verdicts_are_right_unsure_or_wrong(planted, monkeypatch):
    one, nothing = planted["picture mirrored"], planted["lens covered: black"]
    (camera,) = one.cameras
    other = next(record.name for record in one.recording.cameras if record.name not in (camera, *nothing.cameras))

    def judged(case, *findings):
        monkeypatch.setattr(cli, "examine", lambda *_: type("Report", (), {"findings": findings}))
        return cli._judge(Healthy("x", case.recording, case.moments), case).outcome

    right = Finding(Severity.error, "", (camera,), mistake=Mistake.mirrored)
    assert judged(one, right) is Judgement.right and judged(one) is Judgement.unsure
    assert judged(one, Finding(Severity.warning, "does not fit", (camera,))) is Judgement.unsure
    assert judged(one, replace(right, cameras=(other,))) is Judgement.wrong
    assert judged(one, replace(right, mistake=Mistake.swapped)) is Judgement.wrong
    assert judged(nothing) is Judgement.right
    assert judged(nothing, replace(right, cameras=nothing.cameras)) is Judgement.wrong
    assert judged(planted["none"], Finding(Severity.warning, "anything")) is Judgement.wrong


def test_real_frames_are_not_accused_and_a_mirrored_cloud_among_them_is_named(tmp_path):
    folder = real_data("nuscenes-real").parent
    counts = Counter()
    for healthy in real_recordings(folder, tmp_path):
        cases = {one.name: one for one in plants(healthy, np.random.default_rng(7300))}
        assert cli._judge(healthy, cases["none"]).outcome is Judgement.right, healthy.name
        counts[cli._judge(healthy, cases["cloud mirrored"]).outcome] += 1
    assert counts[Judgement.right] >= 1 and not counts[Judgement.wrong]
