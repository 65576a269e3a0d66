"""Which recipe the PLC wants, by job number, and whether vision judges by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edge.requests import RecipeRequest
from edge.verdict import Heartbeat, Verdict

# Vision is asked again after so long: it forgets a change of recipe when it is started anew.
_ASK_AGAIN_S = 2.0


class JobKeeper:
    """Asks for the wanted recipe until every one of `cameras` has it. `jobs` are the recipes by their numbers."""

    def __init__(self, jobs: Mapping[int, str], cameras: Collection[str]) -> None:
        self._jobs = jobs
        self._cameras = frozenset(cameras)
        self._wanted = 0
        self._heard = False
        self._recipes: set[str] = set()
        self._refused = ""
        self._ask_at = 0.0

    def want(self, job: int) -> None:
        """Take the PLC's wish; 0 wants nothing."""
        if job != self._wanted:
            self._wanted, self._refused, self._ask_at = job, "", 0.0

    def hear(self, beat: Heartbeat) -> None:
        """Note what the cameras are judged by."""
        self._heard = True
        self._recipes = {status.recipe for name, status in beat.cameras.items() if name in self._cameras}

    def refuse(self, reason: str) -> None:
        """Vision does not change the recipe now."""
        self._refused = reason

    def fits(self, verdict: Verdict) -> bool:
        """Whether a verdict is by the wanted recipe."""
        return not self._wanted or verdict.recipe == self._jobs.get(self._wanted)

    def request(self, now: float) -> RecipeRequest | None:
        """What vision has to be asked at this moment (monotonic, in seconds), if anything."""
        if not self._heard or not self.problem or self._wanted not in self._jobs or now < self._ask_at:
            return None
        self._ask_at = now + _ASK_AGAIN_S
        return RecipeRequest(recipe=self._jobs[self._wanted], request_id="recipe", asked_by=f"PLC, job {self._wanted}")

    @property
    def problem(self) -> str:
        """Why parts cannot be judged by the wanted recipe now; empty where they are, or nothing is wanted."""
        if not self._wanted or self._recipes == {self._jobs.get(self._wanted)}:
            return ""
        if self._wanted not in self._jobs:
            return f"no recipe of the station file has the job {self._wanted}"
        return self._refused or f"vision changes to the recipe {self._jobs[self._wanted]}"

    @property
    def active(self) -> int:
        """Job number of the recipe that every camera has; 0 where there is no such one."""
        found = [job for job, recipe in self._jobs.items() if self._recipes == {recipe}]
        return found[0] if found else 0
