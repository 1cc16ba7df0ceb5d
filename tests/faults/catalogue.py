"""Every case, in the order of the layers; healthy networks last."""

from __future__ import annotations

from tests.faults import (
    faults_dns,
    faults_http,
    faults_mixed,
    faults_pac,
    faults_proxy,
    faults_tcp,
    faults_tls,
)
from tests.faults.case import Case

CASES: tuple[Case, ...] = (
    *faults_dns.CASES,
    *faults_tcp.CASES,
    *faults_proxy.CASES,
    *faults_pac.CASES,
    *faults_tls.CASES,
    *faults_http.CASES,
    *faults_mixed.CASES,
    *faults_http.HEALTHY,
    *faults_mixed.HEALTHY,
)
