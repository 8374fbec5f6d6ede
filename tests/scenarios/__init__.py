"""Golden transcripts: the stories of the engine that a maintainer must know, one file each, checked by pytest.

They are played by the real cores in the simulator with a fixed order of events. ``pytest tests/scenarios
--rewrite-scenarios`` writes them anew after an intended change; the diff then shows what that change does.
"""
