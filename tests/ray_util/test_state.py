"""The state API: records, filters, limits, summaries, over records that a provider gives."""

import pytest

from distpool.util import state, state_records, state_summaries
from distpool.util.state import RayStateApiException

TASKS = [
    {
        "task_id": f"{number:04x}",
        "attempt_number": number % 2,
        "name": name,
        "func_or_class_name": name,
        "state": status,
        "type": kind,
        "worker_pid": 100 + number,
        "language": "PYTHON",
        "is_debugger_paused": number == 1,
    }
    for number, (name, status, kind) in enumerate(
        [
            ("f", "RUNNING", "NORMAL_TASK"),
            ("f", "FINISHED", "NORMAL_TASK"),
            ("g", "FINISHED", "NORMAL_TASK"),
            ("A.m", "FAILED", "ACTOR_TASK"),
            ("A.__init__", "FINISHED", "ACTOR_CREATION_TASK"),
        ]
    )
]
ACTORS = [
    {"actor_id": "a1", "class_name": "A", "state": "ALIVE", "name": "n", "num_restarts": 2},
    {"actor_id": "a2", "class_name": "A", "state": "DEAD"},
    {"actor_id": "b1", "class_name": "B", "state": "ALIVE"},
]
OBJECTS = [
    {"object_id": "01", "object_size": 1 << 20, "task_status": "FINISHED", "reference_type": "LOCAL_REFERENCE",
     "attempt_number": 1, "pid": 1, "ip": "10.0.0.1"},
    {"object_id": "01", "object_size": 1 << 19, "task_status": "FINISHED", "reference_type": "PINNED_IN_MEMORY",
     "attempt_number": 1, "pid": 2, "ip": "10.0.0.1"},
    {"object_id": "02", "object_size": -1, "task_status": None, "reference_type": "ACTOR_HANDLE",
     "attempt_number": 2, "pid": 2, "ip": "10.0.0.2"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _providers(monkeypatch):
    given = {
        "tasks": lambda: TASKS,
        "actors": lambda: ACTORS,
        "objects": lambda: OBJECTS,
        "nodes": lambda: [{"node_id": "n1", "resources_total": {"CPU": 2.0}, "is_head_node": True}],
        "workers": lambda: [{"worker_id": "w1", "is_alive": True, "exit_detail": "none"}],
        "jobs": lambda: [{"job_id": "j1", "status": "RUNNING"}],
    }
    monkeypatch.setattr(state, "PROVIDERS", given)


def names(records):
    return [record.task_id for record in records]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], "01234"),
        ([("state", "=", "FINISHED")], "124"),
        ([("state", "=", "finished")], "124"),
        ([("STATE", "=", "FINISHED")], "124"),
        ([("state", "!=", "FINISHED")], "03"),
        ([("state", "=", "FINISHED"), ("name", "=", "f")], "1"),
        ([("state", "=", "FINISHED"), ("state", "=", "RUNNING")], ""),
        ([("worker_pid", "=", 103)], "3"),
        ([("worker_pid", "=", "103")], "3"),
        ([("worker_pid", "=", "many")], ""),
        ([("attempt_number", "!=", 0)], "13"),
        ([("is_debugger_paused", "=", "True")], "1"),
        ([("is_debugger_paused", "=", False)], "0234"),
        ([("is_debugger_paused", "!=", "false")], "1"),
        ([("actor_id", "=", None)], "01234"),
        ([("actor_id", "=", "ab")], ""),
        ([["language", "=", "PYTHON"]], "01234"),
    ],
)
def test_filters(filters, found):
    assert names(state.list_tasks(filters=filters)) == [f"000{digit}" for digit in found]


def test_detail_fills_in_more_fields():
    brief, full = state.list_tasks()[0], state.list_tasks(detail=True)[0]
    assert (brief.language, full.language) == (None, "PYTHON")
    assert brief.state == full.state == "RUNNING"
    assert state.list_actors(detail=True)[0].num_restarts == 2


def test_a_limit_is_kept_and_a_warning_says_what_is_left_out():
    with pytest.warns(RuntimeWarning, match="5 tasks match, and only 2"):
        assert names(state.list_tasks(limit=2)) == ["0000", "0001"]
    with pytest.warns(RuntimeWarning, match="3 tasks match, and only 0"):
        assert state.list_tasks(limit=0, filters=[("state", "=", "FINISHED")]) == []
    assert len(state.list_tasks(limit=5)) == 5
    with pytest.raises(ValueError, match="not -1"):
        state.list_tasks(limit=-1)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (("stat", "=", "x"), "no field 'stat' to filter by; did you mean 'state'"),
        (("qqq", "=", "x"), "there are actor_id, attempt_number"),
        (("state", ">", "x"), "with '=' or '!=', not '>'"),
        ("state=x", "a filter is"),
        (("state", "RUNNING"), "a filter is"),
    ],
)
def test_wrong_filters_are_explained(wrong, text):
    with pytest.raises(ValueError, match=text):
        state.list_tasks(filters=[wrong])
    with pytest.raises(RayStateApiException):
        state.list_tasks(filters=[wrong])


def test_a_record_behaves_as_a_dict_too():
    record = state.list_actors()[0]
    assert record["name"] == record.name == record.get("name") == "n"
    assert dict(record) == record.asdict() == dict(record.items())
    assert set(dict(record)) == set(record.keys()) == record.list_columns()
    assert len(record) == len(record.values()) == len(list(record))
    assert "name" in record
    assert "nothing" not in record
    assert record.get("nothing", 3) == 3
    with pytest.raises(KeyError, match="nothing"):
        record["nothing"]
    assert repr(record).startswith("ActorState(actor_id='a1', class_name='A', state='ALIVE'")


def test_single_records_are_found_by_their_ids():
    assert state.get_task("0003").name == "A.m"
    assert state.get_task("0003").language == "PYTHON"
    assert state.get_task("ffff") is None
    assert state.get_actor("b1").class_name == "B"
    assert state.get_node("n1").resources_total == {"CPU": 2.0}
    assert state.get_worker("w1").exit_detail == "none"
    assert state.get_job("j1").status == "RUNNING"
    assert [each.pid for each in state.get_objects("01")] == [1, 2]

    class Ref:
        def task_id(self):
            return bytes.fromhex("0002")

    assert state.get_task(Ref()).name == "g"


def test_what_nobody_keeps_is_an_error():
    with pytest.raises(RayStateApiException, match="record of placement groups"):
        state.list_placement_groups()


def test_who_knows_is_imported_when_it_is_asked(monkeypatch, tmp_path):
    (tmp_path / "who_knows.py").write_text(
        "from distpool.util import state\nstate.PROVIDERS['jobs'] = lambda: [{'job_id': 'j2'}]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(state, "SOURCES", "who_knows")
    monkeypatch.setattr(state, "PROVIDERS", {})
    assert [job.job_id for job in state.list_jobs()] == ["j2"]
    monkeypatch.setattr(state, "SOURCES", "nobody_knows")
    monkeypatch.setattr(state, "PROVIDERS", {})
    with pytest.raises(RayStateApiException, match="record of jobs"):
        state.list_jobs()


def test_summary_of_tasks():
    assert state.summarize_tasks() == {
        "cluster": {
            "summary": {
                "f": {
                    "func_or_class_name": "f",
                    "type": "NORMAL_TASK",
                    "state_counts": {"RUNNING": 1, "FINISHED": 1},
                },
                "g": {"func_or_class_name": "g", "type": "NORMAL_TASK", "state_counts": {"FINISHED": 1}},
                "A.m": {"func_or_class_name": "A.m", "type": "ACTOR_TASK", "state_counts": {"FAILED": 1}},
                "A.__init__": {
                    "func_or_class_name": "A.__init__",
                    "type": "ACTOR_CREATION_TASK",
                    "state_counts": {"FINISHED": 1},
                },
            },
            "total_tasks": 3,
            "total_actor_tasks": 1,
            "total_actor_scheduled": 1,
            "summary_by": "func_name",
        }
    }


def test_summary_of_actors():
    assert state.summarize_actors()["cluster"] == {
        "summary": {
            "A": {"class_name": "A", "state_counts": {"ALIVE": 1, "DEAD": 1}},
            "B": {"class_name": "B", "state_counts": {"ALIVE": 1}},
        },
        "total_actors": 3,
        "summary_by": "class",
    }


def test_summary_of_objects():
    summary = state.summarize_objects()["cluster"]
    assert summary["summary"]["disabled"] == {
        "total_objects": 3,
        "total_size_mb": 1.5,
        "total_num_workers": 3,
        "total_num_nodes": 2,
        "task_state_counts": {"FINISHED": 2, "NIL": 1},
        "task_attempt_number_counts": {"1": 2, "2": 1},
        "ref_type_counts": {"LOCAL_REFERENCE": 1, "PINNED_IN_MEMORY": 1, "ACTOR_HANDLE": 1},
    }
    assert (summary["total_objects"], summary["total_size_mb"], summary["callsite_enabled"]) == (
        3,
        1.5,
        False,
    )
    assert state_summaries.of_objects([])["summary"] == {}


def test_every_kind_has_a_field_that_names_it():
    for kind, key in state_records.KEYS.items():
        assert key in kind.list_columns(detail=False)
