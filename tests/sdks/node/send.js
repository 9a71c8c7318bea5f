// Sends COUNT spans with OpenTelemetry's SDK for JavaScript: send.js grpc|http|json ENDPOINT COUNT
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");

const [protocol, endpoint, count] = process.argv.slice(2);
const packages = {
  grpc: ["@opentelemetry/exporter-trace-otlp-grpc", endpoint],
  http: ["@opentelemetry/exporter-trace-otlp-proto", endpoint + "/v1/traces"],
  json: ["@opentelemetry/exporter-trace-otlp-http", endpoint + "/v1/traces"],
};
const [name, url] = packages[protocol];
const { OTLPTraceExporter } = require(name);

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "node-" + protocol }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url }), { maxQueueSize: 2 * Number(count) })],
});
const tracer = provider.getTracer("tests");
for (let number = 0; number < Number(count); number++) {
  const span = tracer.startSpan("work", { attributes: { number, card: "4111 1111 1111 1111" } });
  span.addEvent("mailed", { to: "jane.doe@example.org" });
  span.end();
}
provider.forceFlush().then(() => provider.shutdown());
