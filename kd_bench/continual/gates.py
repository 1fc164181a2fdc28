"""What the project wants of continual learning, and whether the ledger shows it."""

from collections.abc import Mapping, Sequence

from kd_bench.continual.arms import JOINT, NO_HUMAN, OURS
from kd_bench.continual.cells import percent_text, points_text
from kd_bench.continual.comparison import FORGETTING, Learned, known_estimate, main_results
from kd_bench.continual.domains import BUFFER_SHARE, CITIES, DAY_NIGHT, FIVE_FIVE, LEAST_BOXES
from kd_bench.continual.metrics import learning_gains
from kd_bench.continual.records import DomainRecord
from kd_bench.ledger.gates import Aim
from kd_bench.ledger.intervals import Estimate, seeds_text

MOST_FORGETTING, LEAST_ACCURACY, MOST_TIME = 0.04, 0.95, 0.25
LEAST_GAIN, LEAST_SHARE, MOST_DAY_LOSS = 0.10, 0.5, 0.02


def gates(records: Sequence[DomainRecord]) -> list[Aim]:
    """All of them; the mean over seeds decides."""
    found = main_results(records)
    return [
        _forgetting(found, CITIES.name, CITIES.title),
        _forgetting(found, FIVE_FIVE.name, FIVE_FIVE.title),
        _accuracy(found.get(CITIES.name)),
        _time(found.get(CITIES.name)),
        _night(found.get(DAY_NIGHT.name)),
        _day(found.get(DAY_NIGHT.name)),
    ]


def _forgetting(found: Mapping[str, Learned], name: str, title: str) -> Aim:
    wish = f"{title}: {OURS.name} forgets less than {100 * MOST_FORGETTING:g} %"
    lost = found[name].figure(OURS.name, FORGETTING) if name in found else None
    return Aim(wish) if lost is None else Aim(wish, _counted(lost), lost.mean < MOST_FORGETTING)


def _accuracy(cities: Learned | None) -> Aim:
    wish = f"{OURS.name} reaches at least {100 * LEAST_ACCURACY:g} % of joint training's average mAP"
    share = cities.accuracy_share(OURS.name) if cities else None
    return Aim(wish) if share is None else Aim(wish, _counted(share), share.mean >= LEAST_ACCURACY)


def _time(cities: Learned | None) -> Aim:
    wish = (
        f"the last update takes at most {100 * MOST_TIME:g} % of joint training's time, with a buffer of "
        f"{100 * BUFFER_SHARE:g} % of the keyframes"
    )
    share = cities.time_share(OURS.name) if cities else None
    if cities is None or share is None:
        return Aim(wish)
    every = cities.share_of_joint(cities.all_seconds(OURS.name), cities.last_seconds(JOINT.name))
    figures = f"{_counted(share)}; all updates together {percent_text(every)}; {cities.buffer(OURS.name)} keyframes"
    return Aim(wish, figures, share.mean <= MOST_TIME)


def _night(nights: Learned | None) -> Aim:
    """Labels of the night decide what half of them would bring."""
    wish = (
        f"night without one human label: at least {100 * LEAST_GAIN:+g} mAP, or {100 * LEAST_SHARE:g} % of what labels "
        "bring"
    )
    gain, labelled = (night_gain(nights, arm) if nights else None for arm in (NO_HUMAN.name, OURS.name))
    if gain is None:
        return Aim(wish)
    figures = f"{points_text(gain, signed=True)} ({seeds_text(gain.count)})"
    if labelled is not None:
        figures += f"; with labels {points_text(labelled, signed=True)}"
    enough = gain.mean >= LEAST_GAIN or (labelled is not None and gain.mean >= LEAST_SHARE * labelled.mean > 0)
    return Aim(wish, figures, enough if enough or labelled is not None else None)


def _day(nights: Learned | None) -> Aim:
    wish = f"the day loses less than {100 * MOST_DAY_LOSS:g} % by that"
    lost = nights.figure(NO_HUMAN.name, FORGETTING) if nights else None
    return Aim(wish) if lost is None else Aim(wish, _counted(lost), lost.mean < MOST_DAY_LOSS)


def night_gain(nights: Learned, arm: str) -> Estimate | None:
    """mAP at night after learning it, minus before."""
    return known_estimate({seed: float(learning_gains(nights.matrix(arm, seed))[-1]) for seed in nights.seeds(arm)})


def few_boxes(records: Sequence[DomainRecord]) -> list[str]:
    """Where held-out sets lack boxes: 'night: bus 41'."""
    return sorted(
        {
            f"{held_out.removesuffix('_val')}: {name} {count}"
            for record in records
            for held_out, score in record.scores.items()
            for name, count in score["truths"].items()
            if count < LEAST_BOXES
        }
    )


def _counted(value: Estimate) -> str:
    return f"{percent_text(value)} ({seeds_text(value.count)})"
