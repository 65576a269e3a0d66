"""A threshold's promise in words: what is certified, what is only estimated, and what would certify it."""

from __future__ import annotations

from calibration.threshold import Goal, Threshold, percent

_STEADY = "as long as parts, lighting and camera stay as they were"


def guarantee(threshold: Threshold, goal: Goal) -> str:
    """Say in a few sentences what good parts promise about `threshold`, which was set for `goal`."""
    said = _certificate(threshold, goal)
    if threshold.folds is None:
        return said
    return (
        f"Out of fold, and so expected rather than certified: {said} {threshold.folds} heads gave the scores, each for "
        "the parts that it was trained without, on the scale of the head that runs, which has learned from all of "
        "them. "
        "What is said holds as far as that one scores new parts no higher than they do; good parts that no head has "
        "seen certify it."
    )


def _certificate(threshold: Threshold, goal: Goal) -> str:
    target = f"the target of {percent(goal.false_reject_rate)}{_sure(goal.confidence)}"
    counted = _counted(threshold)
    if not threshold.missing:
        return f"{counted} certify {target}: {_promise(threshold)}, {_STEADY}."
    remedy = _remedy(threshold)
    if threshold.parts == 1:
        return (
            f"One good part certifies next to nothing against {target}: its score is the threshold, every second good "
            f"part may be rejected, and with 95 % confidence no more than {percent(threshold.bound or 1.0)} can be "
            f"said. {remedy}"
        )
    if threshold.method == "tail":
        return f"{counted} are too few to certify {target}. {_estimate(threshold)} {remedy}"
    return (
        f"{counted} are too few for {target}: the threshold is their largest score, and {_promise(threshold)}. {remedy}"
    )


def _counted(threshold: Threshold) -> str:
    return f"{threshold.parts} good parts" + (f" of {_number(threshold.lots, 'lot')}" if threshold.lots else "")


def _promise(threshold: Threshold) -> str:
    whose = "good parts of a lot not seen yet" if threshold.lots else "good parts"
    certified = percent(threshold.certified_rate)
    if threshold.confidence is not None:
        sure = percent(threshold.confidence)
        return f"with {sure} confidence this very threshold rejects at most {certified} of {whose}"
    average = f"on average over such calibrations at most {certified} of {whose} are rejected"
    if threshold.bound is None:
        return average
    return f"{average}, and by this very threshold at most {percent(threshold.bound)} with 95 % confidence"


def _estimate(threshold: Threshold) -> str:
    reach = ""
    if threshold.interval:
        low, high = threshold.interval
        reach = f" (other parts like these would put it between {low:.4g} and {high:.4g}, 95 times in 100)"
    certified = f"Certified is only that {_promise(threshold)}."
    if threshold.review_above is None:
        return (
            "The threshold is their largest score: a tail fitted to the largest ones meets the target there already, "
            f"which is an estimate{reach}. {certified}"
        )
    return (
        f"The threshold is an estimate: a tail fitted to the largest scores meets the target there{reach}. {certified} "
        "What scores above every calibrated part and not above the threshold passes, marked for review."
    )


def _remedy(threshold: Threshold) -> str:
    have = threshold.lots or threshold.parts
    unit = "lot" if threshold.lots else "good part"
    return f"{_number(threshold.missing, f'more {unit}')} ({threshold.missing + have} in all) would certify the target."


def _sure(confidence: float | None) -> str:
    return "" if confidence is None else f" with {percent(confidence)} confidence"


def _number(count: int | None, unit: str) -> str:
    return f"{count} {unit}{'s' * (count != 1)}"
