"""Coverage-guided fuzzing of whatever reads what others have written.

``make fuzz DURATION=60`` runs each target of `targets` under atheris, in an environment of
its own. What breaks a target is kept in ``fuzz/found/``; it is fixed together with a test in
tests/test_fuzz_regressions.py, which also runs all targets, without atheris.
"""
