"""What an API server takes for the spec of a NetworkPolicy (kubernetes.io/docs, reference/kubernetes-api/policy-resources/network-policy-v1): others never
stood in a cluster, and restrict nothing."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError
from pydantic.alias_generators import to_camel


def _network(text: str) -> str:
    ip_network(text, strict=False)
    return text


Cidr = Annotated[StrictStr, AfterValidator(_network)]
Number = Annotated[StrictInt, Field(ge=1, le=65535)]


class _Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Requirement(_Shape):
    key: StrictStr
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[StrictStr] | None = None


class _Selector(_Shape):
    match_labels: dict[StrictStr, StrictStr] | None = None
    match_expressions: list[_Requirement] | None = None


class _Block(_Shape):
    cidr: Cidr
    excepted: list[Cidr] | None = Field(None, alias="except")


class _Peer(_Shape):
    pod_selector: _Selector | None = None
    namespace_selector: _Selector | None = None
    ip_block: _Block | None = None


class _Port(_Shape):
    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    port: Number | Annotated[StrictStr, Field(min_length=1)] | None = None
    end_port: Number | None = None


class _Ingress(_Shape):
    ports: list[_Port] | None = None
    peers: list[_Peer] | None = Field(None, alias="from")


class _Egress(_Shape):
    ports: list[_Port] | None = None
    peers: list[_Peer] | None = Field(None, alias="to")


class _Spec(_Shape):
    pod_selector: _Selector | None = None
    policy_types: list[Literal["Ingress", "Egress"]] | None = None
    ingress: list[_Ingress] | None = None
    egress: list[_Egress] | None = None


def refused(spec: object) -> str | None:
    """Where and why an API server would refuse the spec; None where it would not."""
    try:
        _Spec.model_validate(spec)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, ('spec', *first['loc'])))}: {first['msg']}"
    return None


__all__ = ["refused"]
