"""How long a teacher on GPUs of one's own will take, before anything is started.

Before a pilot there is nothing but the speed that others have published for such a model, marked as
such: an upper hint. What a pilot took replaces it.
"""

from dataclasses import dataclass

from distill.errors import ModelError
from distill.recipe import EngineTeacher
from teachers.moe_config import find_architecture
from teachers.shard_cost import Cost, Job, cost_of, read_gpus, speeds_of


@dataclass(frozen=True, slots=True)
class EngineHours:
    """GPUs of all replicas, and what they take.

    Attributes:
        gpus: How many; 0 if the recipe does not say.
        cost: At the slowest published speed; ``None`` if none is known.
    """

    gpus: int
    cost: Cost | None


def hours_of(section: EngineTeacher, samples: float, output_tokens: float) -> EngineHours:
    """Hours and money by published speeds.

    Args:
        section: The recipe's choice.
        samples: That will be asked for.
        output_tokens: Of all of them together.

    Raises:
        RecipeError: If `gpus` cannot be read.
    """
    replicas = len(section.join) or section.replicas
    gpus = 0 if section.gpus is None else read_gpus(section.gpus).gpus * replicas
    try:
        speeds = speeds_of(find_architecture(section.model))
    except ModelError:  # a name that only the server knows
        speeds = []
    if not gpus or not speeds or samples < 1:
        return EngineHours(gpus, None)
    job = Job(round(samples), round(output_tokens / samples), section.usd_per_gpu_hour)
    return EngineHours(gpus, cost_of(job, speeds[0], gpus))
