"""What terms of a base and a teacher mean for a student: its name, its use, whether it may be."""

import pytest

from distill.errors import LicenceError
from distill.licences import EMBEDDED, licence_view, terms_of


def test_a_qwen_student_of_a_deepseek_teacher_is_free_of_concerns() -> None:
    view = licence_view("my-student", "Qwen/Qwen2.5-7B", ["deepseek-reasoner"])
    assert (view.licence, view.concerns, view.unknown) == ("apache-2.0", (), ())
    view.require(accepted=False)


@pytest.mark.parametrize(
    ("name", "base", "teacher", "word"),
    [
        ("student", "meta-llama/Llama-3.1-8B", "deepseek-r1", "begins with 'Llama'"),
        ("llama-student", "meta-llama/Llama-3.2-1B", "deepseek-r1", "begins with 'Llama'"),
        ("student", "Qwen/Qwen2.5-7B", "meta-llama/Llama-3.3-70B-Instruct", "begins with 'Llama'"),
        ("student", "Qwen/Qwen2.5-3B-Instruct", "deepseek-r1", "research only"),
        ("student", "Qwen/Qwen2.5-7B", "gpt-4o", "compete with OpenAI"),
        ("student", "Qwen/Qwen2.5-7B", "openai/o3-mini", "compete with OpenAI"),
        ("student", "Qwen/Qwen2.5-7B", "anthropic/claude-sonnet-4", "competing"),
        ("student", "Qwen/Qwen2.5-7B", "google/gemini-2.5-pro", "compete"),
    ],
)
def test_a_term_that_is_broken_stops_with_its_clause(
    name: str, base: str, teacher: str, word: str
) -> None:
    view = licence_view(name, base, [teacher])
    with pytest.raises(LicenceError) as stopped:
        view.require(accepted=False)
    assert word in stopped.value.problem
    assert "https://" in stopped.value.problem
    assert "--accept-licence-risk" in stopped.value.hint
    view.require(accepted=True)


def test_a_llama_student_with_its_name_shows_its_badge() -> None:
    view = licence_view("Llama-maths-8B", "meta-llama/Llama-3.1-8B", ["deepseek-r1"])
    assert view.concerns == ()
    assert (view.licence, view.badges) == ("llama3.1", ("Built with Llama",))


def test_a_teacher_with_open_weights_is_not_taken_for_its_makers_service() -> None:
    assert licence_view("student", "Qwen/Qwen3-8B", ["openai/gpt-oss-120b"]).concerns == ()


def test_nothing_known_is_said_and_no_reason_to_stop() -> None:
    view = licence_view("student", "someone/model", ["someone/teacher"])
    assert view.unknown == ("someone/model", "someone/teacher")
    view.require(accepted=False)
    assert view.licence == "other"


def test_the_models_of_the_catalogues_are_known() -> None:
    from students.catalog import catalog as students
    from teachers.catalog import catalog as endpoints

    names = [*students(), EMBEDDED]
    names += [model.name for one in endpoints().values() for model in one.models]
    assert [name for name in names if terms_of(name) is None] == []


def test_a_base_that_its_catalogue_restricts_is_restricted_here() -> None:
    from students.catalog import catalog as students

    for name, student in students().items():
        terms = terms_of(name)
        assert terms is not None
        assert bool(student.licence_note) == bool(terms.clause), name
