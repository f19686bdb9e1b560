"""walferry with one guarantee broken at a time: a test that cannot tell such a one from the real one proves nothing.

    NAME.patch      what is broken, against the product's sources
    build.py        patched copies of the sources, built with the `test` preset
    scenarios.py    for each mutant the run that shows it, by fail points and the proxy, never by luck
    test_mutants.py each scenario passes on the product and is caught on its mutant

A patch that no longer applies: change the sources in build/mutants/tree as it meant, or in a copy, and write it anew with
diff -u; keep the broken guarantee the only difference.
"""
