"""The fault lab: every cause the preflight can name, made for real in network namespaces, and who finds it.

`python -m tests.faults` runs the catalogue: for each case it builds a lab, breaks one thing, runs
`isolator-check` as an unprivileged user in the device, then curl, blackbox_exporter and nmap on the same
fault, and compares what each of them says with what was broken.
"""
