"""Every code in words, in English and Japanese."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from connectivity_check.failure import Failure
from connectivity_check.render import codes_of_the_service as service
from connectivity_check.render import codes_of_the_way as way
from connectivity_check.render.code_text import CodeText

CODE_TEXTS: Mapping[Failure, CodeText] = MappingProxyType(
    {
        **way.DNS,
        **way.TCP_AND_IP,
        **way.PROXY,
        **service.TLS,
        **service.REVOCATION,
        **service.HTTP,
        **service.RUN,
    }
)
"""Title, meaning and general remedy of each code; a test keeps it complete."""
