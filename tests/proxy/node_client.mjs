// Drives the fault proxy with toxiproxy-node-client, unmodified.
//
//     node node_client.mjs http://127.0.0.1:PORT

import assert from "node:assert/strict";
import net from "node:net";
import toxiproxyNodeClient from "toxiproxy-node-client";

const { Toxiproxy } = toxiproxyNodeClient;
const LATE = 20_000;

/** A server that sends all data back. */
const echo = net.createServer((socket) => socket.on("error", () => {}).pipe(socket));
await new Promise((resolve) => echo.listen(0, "127.0.0.1", resolve));
const upstream = `127.0.0.1:${echo.address().port}`;

function connect(listen) {
  const [host, port] = listen.split(":");
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port: Number(port), noDelay: true, allowHalfOpen: false });
    socket.once("connect", () => resolve(socket)).once("error", reject);
  });
}

/** Sends a text, and resolves with what comes back, or with how the connection ended, and with the time since `start`. */
function exchange(socket, text, start = performance.now()) {
  return new Promise((resolve) => {
    let received = "";
    const done = (end) => resolve({ received, end, ms: performance.now() - start });
    socket.on("data", (data) => {
      received += data;
      if (received.length >= text.length) done("open");
    });
    socket.once("error", (error) => done(error.code)).once("close", () => done("closed"));
    socket.write(text);
  });
}

const toxiproxy = new Toxiproxy(process.argv[2]);
const text = "hello over a proxy";

assert.match(JSON.parse(await toxiproxy.getVersion()).version, /^2\./);
assert.deepEqual(await toxiproxy.getAll(), {});

// Proxies.
const proxy = await toxiproxy.createProxy({ name: "echo", listen: "localhost:0", upstream });
assert.equal(proxy.name, "echo");
assert.equal(proxy.upstream, upstream);
assert.equal(proxy.enabled, true);
assert.match(proxy.listen, /^127\.0\.0\.1:[1-9]\d*$/);
assert.equal((await exchange(await connect(proxy.listen), text)).received, text);
assert.deepEqual((await toxiproxy.get("echo")).toJson(), proxy.toJson());
assert.deepEqual(Object.keys(await toxiproxy.getAll()), ["echo"]);
await assert.rejects(toxiproxy.get("none"), /status code 404/);
await assert.rejects(toxiproxy.createProxy({ name: "echo", listen: "localhost:0", upstream }), /status code 409/);
await assert.rejects(toxiproxy.createProxy({ name: "", listen: "localhost:0", upstream }), /status code 400/);

// A service that is down.
const body = { listen: proxy.listen, upstream };
const open = await connect(proxy.listen);
const closed = new Promise((resolve) => open.once("close", resolve).on("error", () => {}));
const down = await proxy.update({ ...body, enabled: false });
assert.equal(down.enabled, false);
await closed;
await assert.rejects(connect(proxy.listen), { code: "ECONNREFUSED" });
const up = await down.update({ ...body, enabled: true });
assert.deepEqual(up.toJson(), proxy.toJson());

// Every type of toxic.
const expected = {
  latency: [{ latency: 100, jitter: 0 }, ({ received, ms }) => received === text && ms >= 99 && ms < LATE],
  bandwidth: [{ rate: 1 }, ({ received, ms }) => received === text && ms >= 17],
  slow_close: [{ delay: 10 }, ({ received }) => received === text],
  timeout: [{ timeout: 100 }, ({ received, end, ms }) => received === "" && end === "closed" && ms >= 99 && ms < LATE],
  reset_peer: [{ timeout: 0 }, ({ received, end }) => received === "" && end === "ECONNRESET"],
  slicer: [{ average_size: 2, size_variation: 1, delay: 10 }, ({ received }) => received === text],
  // Upstream, the connection closes after 5 bytes of the request, before or after the response to them.
  limit_data: [
    { bytes: 5 },
    ({ received, end }, stream) =>
      text.slice(0, 5).startsWith(received) && end !== "open" && (stream === "upstream" || received.length === 5),
  ],
};
for (const [type, [attributes, holds]] of Object.entries(expected)) {
  for (const stream of ["downstream", "upstream"]) {
    const socket = await connect(proxy.listen);
    assert.equal((await exchange(socket, text)).received, text, "before the toxic");
    socket.removeAllListeners("data");
    const added = performance.now();
    const toxic = await proxy.addToxic({ name: "", type, stream, toxicity: 1, attributes });
    assert.deepEqual(toxic.toJson(), { name: `${type}_${stream}`, type, stream, toxicity: 1, attributes });
    assert.deepEqual((await proxy.getToxic(toxic.name)).toJson(), toxic.toJson());
    const check = async (when, tested, start) => {
      const result = await exchange(tested, text, start);
      assert.ok(holds(result, stream), `${type} ${stream} ${when}: ${JSON.stringify(result)}`);
      tested.destroy();
    };
    await check("open", socket, added);
    const connected = performance.now();
    await check("new", await connect(proxy.listen), connected);
    await toxic.remove();
    await assert.rejects(proxy.getToxic(toxic.name), /status code 404/);
  }
}

// Changes of a toxic.
const toxic = await proxy.addToxic({ name: "slow", type: "latency", stream: "downstream", toxicity: 1, attributes: { latency: 1, jitter: 0 } });
await assert.rejects(proxy.addToxic({ ...toxic.toJson() }), /status code 409/);
await assert.rejects(proxy.addToxic({ ...toxic.toJson(), name: "x", type: "other" }), /status code 400/);
const slower = await toxic.update({ ...toxic.toJson(), toxicity: 0.5, attributes: { latency: 50 } });
assert.deepEqual([slower.toxicity, slower.attributes], [0.5, { latency: 50, jitter: 0 }]);

// Reset and populate.
await proxy.update({ ...body, enabled: false });
await toxiproxy.reset();
assert.equal((await toxiproxy.get("echo")).enabled, true);
await assert.rejects(proxy.getToxic("slow"), /status code 404/);
const populated = await toxiproxy.populate([
  { name: "echo", listen: proxy.listen, upstream },
  { name: "other", listen: "localhost:0", upstream, enabled: false },
]);
assert.deepEqual(Object.keys(populated), ["echo", "other"]);
assert.deepEqual(populated.echo.toJson(), proxy.toJson());
assert.equal(populated.other.enabled, false);

for (const each of Object.values(await toxiproxy.getAll())) await each.remove();
assert.deepEqual(await toxiproxy.getAll(), {});
echo.close();
console.log("toxiproxy-node-client: all checks passed");
process.exit(0);
