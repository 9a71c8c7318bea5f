"""Sends COUNT spans with OpenTelemetry's SDK for Python: send.py grpc|http ENDPOINT COUNT"""

import sys

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

protocol, endpoint, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=endpoint + "/v1/traces")

provider = TracerProvider(resource=Resource.create({"service.name": "python-" + protocol}))
provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * count))
tracer = provider.get_tracer("tests")
for number in range(count):
    with tracer.start_as_current_span("work", attributes={"number": number, "card": "4111 1111 1111 1111"}) as span:
        span.add_event("mailed", {"to": "jane.doe@example.org"})
assert provider.force_flush()
provider.shutdown()
