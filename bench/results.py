"""What a benchmark brings: a figure, and what it should be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One measured figure, with the bound that it is held to if there is one."""

    name: str
    figure: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_good(self) -> bool:
        return (self.at_least is None or self.figure >= self.at_least) and (
            self.at_most is None or self.figure <= self.at_most
        )

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_least is not None else ""
        bound = f"at most {self.at_most:g}" if self.at_most is not None else bound
        verdict = "" if not bound else f"   ({bound}: {'yes' if self.is_good else 'NO'})"
        return f"  {self.name}: {self.figure:.4g}{verdict}"
