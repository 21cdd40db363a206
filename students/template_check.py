"""The template check: a student reads and stops at work as it was trained to.

A wrong chat template is the most common way to ruin a student, and nothing fails: the loss falls,
and the student never stops, or has learnt no reasoning. So each rule is tried on two short
conversations before the first step. What breaks one stops the training; what is merely good to
know is a note (``students.template_notes``).
"""

from transformers import GenerationConfig, PreTrainedTokenizerBase

from distill.errors import ModelError
from students.template_probe import make_probe
from students.template_rules import RULES, Finding


def check_template(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig) -> None:
    """Refuse a template through which a student would not learn what it does at work.

    Raises:
        ModelError: Naming each rule that is broken, and the fix.
    """
    faults = find_faults(tokenizer, generation_config)
    if not faults:
        return
    fixes = list(dict.fromkeys(fault.fix for fault in faults))
    if len(faults) == 1:
        raise ModelError(str(faults[0]), hint=fixes[0])
    lines = "".join(f"\n  {fault}" for fault in faults)
    raise ModelError(f"the chat template breaks {len(faults)} rules:{lines}", hint="\n".join(fixes))


def find_faults(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig
) -> list[Finding]:
    """All rules that are broken, in the order in which they matter.

    Raises:
        ModelError: If there is no template, or it refuses a question and its answer.
    """
    probe = make_probe(tokenizer, generation_config)
    return [finding for rule in RULES for finding in rule(probe)]
