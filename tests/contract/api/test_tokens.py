"""Access tokens: who gets one, and which are no longer, or never were, worth anything."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import APIRouter
from joserfc import jwt
from joserfc.jwk import ECKey

from api import auth
from api.core.roles import Role
from api.deps import Auditor, Reader
from api.services import clients
from api.store.database import Database
from api.store.tables import ApiClient
from tests.contract.api.controller import ACME, OTHER, URL, Controller, console, controller

probes = APIRouter()


@probes.get("/probe/reader")
def reader(actor: Reader) -> dict[str, Any]:
    return {"name": actor.name, "role": actor.role.value, "tenant": actor.tenant_id}


@probes.get("/probe/auditor")
def auditor(actor: Auditor) -> dict[str, Any]:
    return {"name": actor.name}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        made.app.include_router(probes)
        yield made


def call(world: Controller, token: str, path: str = "/probe/reader") -> Any:
    return world.http.get(path, headers={"Authorization": f"Bearer {token}"})


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def signed(world: Controller, claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A token with the controller's real key."""
    key = ECKey(world.services.keys.token, world.services.keys.token)
    return jwt.encode(header or {"alg": "ES256"}, claims, key, algorithms=["ES256"])


def encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def test_a_client_gets_a_token_that_works(world: Controller) -> None:
    new = world.client(Role.OPERATOR)
    answer = world.token_answer(new)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["ext_expires_in"]) == ("Bearer", 3599, 3599)
    assert answer.headers["cache-control"] == "no-store"
    claims = claims_of(body["access_token"])
    assert claims["tid"] == ACME
    assert claims["appid"] == claims["sub"] == new.client.id
    assert claims["exp"] - claims["iat"] == 3599
    assert "Machine.Isolate" in claims["roles"]
    assert call(world, body["access_token"]).json() == {
        "name": new.client.name,
        "role": "operator",
        "tenant": ACME,
    }


def test_the_first_version_answers_in_text(world: Controller) -> None:
    new = world.client(Role.READER)
    form = {
        "grant_type": "client_credentials",
        "client_id": new.client.id,
        "client_secret": new.secret,
        "resource": "https://api.securitycenter.windows.com",
    }
    for tenant in (ACME, ACME.upper(), "Acme", "acme"):
        for method in ("POST", "GET"):
            answer = world.http.request(method, f"/{tenant}/oauth2/token/", data=form)
            assert answer.status_code == 200, (tenant, method)
            body = answer.json()
            assert body["expires_in"] == "3599"
            assert body["resource"] == "https://api.securitycenter.windows.com"
            assert call(world, body["access_token"]).status_code == 200


def test_secret_in_a_basic_header(world: Controller) -> None:
    new = world.client(Role.READER)
    url = f"/{ACME}/oauth2/v2.0/token"
    answer = world.http.post(url, data={"grant_type": "client_credentials"}, auth=(new.client.id, new.secret))
    assert answer.status_code == 200
    both = world.http.post(
        url,
        data={"grant_type": "client_credentials", "client_secret": new.secret},
        auth=(new.client.id, new.secret),
    )
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")


REFUSED = [
    ({"client_secret": "wrong"}, 401, "invalid_client"),
    ({"client_secret": ""}, 400, "invalid_request"),
    ({"client_id": "no-guid' OR 1=1 --"}, 401, "invalid_client"),
    ({"client_id": "\0"}, 401, "invalid_client"),
    ({"client_id": "00000000-0000-0000-0000-000000000000"}, 401, "invalid_client"),
    ({"client_secret": "\ud7ff\U0001f600" * 500}, 401, "invalid_client"),
    ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ({"grant_type": ""}, 400, "unsupported_grant_type"),
]


def test_refusals_are_flat(world: Controller) -> None:
    new = world.client(Role.READER)
    for changes, status, error in REFUSED:
        answer = world.token_answer(new, **changes)
        assert (answer.status_code, answer.json()["error"]) == (status, error), changes
        assert answer.headers["cache-control"] == "no-store"
        fields = {"error_description", "error_codes", "timestamp", "trace_id", "correlation_id"}
        assert fields <= set(answer.json())


def test_the_answer_does_not_tell_which_ids_exist(world: Controller) -> None:
    new = world.client(Role.READER)
    known = world.token_answer(new, client_secret="wrong").json()
    unknown = world.token_answer(new, client_id="00000000-0000-4000-8000-000000000000").json()
    foreign = world.token_answer(new, OTHER).json()
    for each in (known, unknown, foreign):
        each.update(trace_id="", correlation_id="", error_description=each["error_description"].split(".")[0])
    assert known == unknown == foreign


BAD_FORMS = [
    (b'{"grant_type": "client_credentials"}', "application/json"),
    (b"grant_type=%ff%fe", "application/x-www-form-urlencoded"),
    (b"\xff\xfe", "application/x-www-form-urlencoded"),
    (b"a=1&a=2", "application/x-www-form-urlencoded"),
    (b"x=" + b"y" * 20_000, "application/x-www-form-urlencoded"),
    (b"&".join(b"k%d=v" % number for number in range(200)), "application/x-www-form-urlencoded"),
    (b"", "application/x-www-form-urlencoded"),
]


def test_bad_forms(world: Controller) -> None:
    for content, kind in BAD_FORMS:
        url = f"/{ACME}/oauth2/v2.0/token"
        answer = world.http.post(url, content=content, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), content[:50]


def test_unknown_tenant(world: Controller) -> None:
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    for tenant in ("nobody", "common", "%00", "x" * 5000, "..%2f.."):
        answer = world.http.post(f"/{tenant}/oauth2/v2.0/token", data=form)
        assert answer.status_code in (400, 404), tenant
        assert "error" in answer.json()


def test_the_secret_is_nowhere_but_in_the_answer(
    world: Controller, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("DEBUG")
    new = world.client(Role.READER)
    token = world.token_answer(new).json()["access_token"]
    call(world, token)
    world.token_answer(new, client_secret=new.secret + "x")
    with world.services.database.read() as session:
        row = session.get_one(ApiClient, new.client.id)
        kept = " ".join(str(value) for value in vars(row).values())
    assert new.secret not in kept
    assert new.secret not in caplog.text
    assert token not in caplog.text


def test_a_token_ends(world: Controller) -> None:
    token = world.token(Role.READER)
    world.clock.advance(3598)
    assert call(world, token).status_code == 200
    world.clock.advance(3)
    assert call(world, token).status_code == 401


def test_a_revoked_client_is_out_at_once(world: Controller) -> None:
    new = world.client(Role.READER)
    token = world.token_answer(new).json()["access_token"]
    clients.revoke(world.services, console(), new.client.id)
    clients.revoke(world.services, console(), new.client.id)
    assert call(world, token).status_code == 401
    assert world.token_answer(new).status_code == 401


def test_the_role_in_the_database_counts_not_the_tokens(world: Controller) -> None:
    new = world.client(Role.READER)
    token = world.token_answer(new).json()["access_token"]
    assert call(world, token, "/probe/auditor").status_code == 403
    with world.services.database.write() as session:
        session.get_one(ApiClient, new.client.id).role = "auditor"
    assert call(world, token, "/probe/auditor").status_code == 200
    assert call(world, token).status_code == 403


def test_a_client_that_is_gone(world: Controller) -> None:
    new = world.client(Role.READER)
    token = world.token_answer(new).json()["access_token"]
    with world.services.database.write() as session:
        session.delete(session.get_one(ApiClient, new.client.id))
    assert call(world, token).status_code == 401


def changed(**changes: Any) -> Callable[[Controller, dict[str, Any]], str]:
    return lambda world, claims: signed(world, {**claims, **changes})


def without(name: str) -> Callable[[Controller, dict[str, Any]], str]:
    return lambda world, claims: signed(world, {key: claims[key] for key in claims if key != name})


def public_pem(world: Controller) -> bytes:
    return world.services.keys.token.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def hs256_with_the_public_key(world: Controller, claims: dict[str, Any]) -> str:
    signed_part = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims)}"
    signature = hmac.digest(public_pem(world), signed_part.encode(), "sha256")
    return f"{signed_part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def another_key(world: Controller, claims: dict[str, Any]) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    kid = auth.public_keys(world.services)["keys"][0]["kid"]
    return jwt.encode({"alg": "ES256", "kid": kid}, claims, ECKey(key, key), algorithms=["ES256"])


def own_key_in_the_header(world: Controller, claims: dict[str, Any]) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    own = ECKey(key, key)
    header = {"alg": "ES256", "jwk": own.as_dict(private=False)}
    return jwt.encode(header, claims, own, algorithms=["ES256"])


FORGED: dict[str, Callable[[Controller, dict[str, Any]], str]] = {
    "other tenant": changed(tid=OTHER),
    "unknown tenant": changed(tid="nobody"),
    "other tenant, its issuer": changed(tid=OTHER, iss=f"{URL}/{OTHER}/v2.0"),
    "other audience": changed(aud="https://graph.microsoft.com"),
    "audiences, not ours": changed(aud=["https://a.test", "https://b.test"]),
    "other issuer": changed(iss="https://sts.windows.net/"),
    "never ends": without("exp"),
    "ended": changed(exp=1),
    "end is text": changed(exp="tomorrow"),
    "not yet": changed(nbf=4_000_000_000),
    "nobody": without("sub"),
    "no tenant": without("tid"),
    "no audience": without("aud"),
    "other client": changed(sub="00000000-0000-4000-8000-000000000000"),
    "a client that is a list": changed(sub=["x"]),
    "alg none": lambda world, claims: f"{encoded({'alg': 'none'})}.{encoded(claims)}.",
    "alg None": lambda world, claims: f"{encoded({'alg': 'None'})}.{encoded(claims)}.",
    "no alg": lambda world, claims: f"{encoded({})}.{encoded(claims)}.",
    "HS256 with the public key": hs256_with_the_public_key,
    "another key under our id": another_key,
    "own key in the header": own_key_in_the_header,
    "two parts": lambda world, claims: ".".join(signed(world, claims).split(".")[:2]),
    "a bit of the signature": lambda world, claims: flipped(signed(world, claims), 2),
    "a bit of the claims": lambda world, claims: flipped(signed(world, claims), 1),
    "signature cut": lambda world, claims: signed(world, claims)[:-4],
    "empty signature": lambda world, claims: signed(world, claims).rpartition(".")[0] + ".",
    "a critical extension": lambda world, claims: signed(
        world, claims, {"alg": "ES256", "b64": False, "crit": ["b64"]}
    ),
    "claims are no object": lambda world, claims: f"{encoded({'alg': 'ES256'})}.{'W10'}.AAAA",
    "huge": lambda world, claims: "a" * 60_000,
    "dots": lambda world, claims: "." * 50,
    "bytes": lambda world, claims: "\x01\x7f",
}


def flipped(token: str, part: int) -> str:
    parts = token.split(".")
    middle = len(parts[part]) // 2
    parts[part] = (
        parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    )
    return ".".join(parts)


def test_forged(world: Controller) -> None:
    token = world.token(Role.ADMINISTRATOR)
    assert call(world, token).status_code == 200
    assert call(world, signed(world, claims_of(token))).status_code == 200  # the forger's tools work
    answers = {name: call(world, forge(world, claims_of(token))) for name, forge in FORGED.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(FORGED, 401)
    for answer in answers.values():
        assert answer.json()["error"]["code"] == "Unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_no_token(world: Controller) -> None:
    for header in (None, "", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer\tx", "x" * 3000):
        answer = world.http.get("/probe/reader", headers={} if header is None else {"Authorization": header})
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"]["target"]


def test_the_published_key_checks_the_tokens(world: Controller) -> None:
    token = world.token(Role.READER)
    document = world.http.get(f"/{ACME}/v2.0/.well-known/openid-configuration").json()
    assert document["issuer"] == claims_of(token)["iss"]
    path = document["jwks_uri"].removeprefix(URL)
    published = world.http.get(path).json()["keys"][0]
    assert "d" not in published
    assert jwt.decode(token, ECKey.import_key(published), algorithms=["ES256"]).claims["tid"] == ACME


def test_discovery(world: Controller) -> None:
    for path in (
        f"/{ACME}/v2.0/.well-known/openid-configuration",
        "/acme/v2.0/.well-known/openid-configuration/",
    ):
        document = world.http.get(path, headers={"Host": "login.microsoftonline.com"}).json()
        assert document["token_endpoint"] == f"https://login.microsoftonline.com/{ACME}/oauth2/v2.0/token"
        assert document["authorization_endpoint"].startswith("https://login.microsoftonline.com/")
    instance = world.http.get(
        "/common/discovery/instance",
        params={"authorization_endpoint": f"{URL}/{ACME}/oauth2/v2.0/authorize", "api-version": "1.1"},
    )
    assert instance.json()["tenant_discovery_endpoint"].startswith(URL)
    common = world.http.get(
        "/common/discovery/instance",
        params={"authorization_endpoint": "https://login.microsoftonline.com/common/oauth2/authorize"},
        headers={"Host": "login.microsoftonline.com"},
    )
    assert common.json()["metadata"][0]["aliases"] == ["login.microsoftonline.com"]
    unknown = world.http.get("/common/discovery/instance", params={"authorization_endpoint": "http://["})
    assert (unknown.status_code, unknown.json()["error"]) == (400, "invalid_instance")
    assert world.http.get("/nobody/v2.0/.well-known/openid-configuration").status_code == 400


def test_a_strange_host_name_is_not_repeated(world: Controller) -> None:
    for host in ("evil.test/path?", "a b", "evil.test:99999999", "<script>", "evil@x"):
        document = world.http.get(f"/{ACME}/v2.0/.well-known/openid-configuration", headers={"Host": host})
        assert document.json()["token_endpoint"].startswith(URL)


def test_last_use_is_noted_now_and_then(world: Controller) -> None:
    new = world.client(Role.READER)
    token = world.token_answer(new).json()["access_token"]

    def noted() -> Any:
        with world.services.database.read() as session:
            return session.get_one(ApiClient, new.client.id).last_used_at

    first = noted()
    assert first == world.clock.now()
    world.clock.advance(30)
    call(world, token)
    assert noted() == first
    world.clock.advance(31)
    call(world, token)
    assert noted() == world.clock.now()
