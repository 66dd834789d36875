"""A passkey as a browser and its authenticator would make and show it: https://www.w3.org/TR/webauthn-3/."""

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

PRESENT, VERIFIED, NEW = 0x01, 0x04, 0x40


class Passkey:
    """One key for one host; `origin` is the address of the page that asks for it."""

    def __init__(self, host: str = "testserver", origin: str = "https://testserver") -> None:
        self.host, self.origin = host, origin
        self.id = secrets.token_bytes(16)
        self._key = ec.generate_private_key(ec.SECP256R1())

    def made(self, options: dict[str, Any]) -> str:
        """What the browser sends after `navigator.credentials.create`."""
        public = ES256.from_cryptography_key(self._key.public_key())
        attested = AttestedCredentialData.create(Aaguid.NONE, self.id, public)
        data = AuthenticatorData.create(self._host_hash(), PRESENT | VERIFIED | NEW, 0, attested)
        client = self._client("webauthn.create", options)
        response = {
            "clientDataJSON": websafe_encode(client),
            "attestationObject": websafe_encode(bytes(AttestationObject.create("none", data, {}))),
        }
        return json.dumps(self._credential(response))

    def shown(self, options: dict[str, Any]) -> str:
        """What the browser sends after `navigator.credentials.get`."""
        data = bytes(AuthenticatorData.create(self._host_hash(), PRESENT | VERIFIED, 1))
        client = self._client("webauthn.get", options)
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": websafe_encode(client),
            "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(signature),
        }
        return json.dumps(self._credential(response))

    def _host_hash(self) -> bytes:
        return hashlib.sha256(self.host.encode()).digest()

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        challenge = options["publicKey"]["challenge"]
        text = challenge if isinstance(challenge, str) else websafe_encode(challenge)
        return json.dumps({"type": kind, "challenge": text, "origin": self.origin, "crossOrigin": False}).encode()

    def _credential(self, response: dict[str, str]) -> dict[str, Any]:
        return {
            "type": "public-key",
            "id": websafe_encode(self.id),
            "rawId": websafe_encode(self.id),
            "response": response,
            "clientExtensionResults": {},
        }
