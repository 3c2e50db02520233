"""Faults put to the real program: `make torture`. Each row of its table is a fault, what happened, and whether what promlstm promises held.

source    telemetry whose samples say when they were made; a real Prometheus scrapes it
proxy     stands between promlstm and Prometheus and strikes answers
pages     reads /metrics all the time and keeps what a reader of it would know
lane      one exporter with its proxy and its reader; a trial of one fault
rows      what a trial gave, and the table
command   the command line and the run
faults    what is injected, a file for each subject
"""
