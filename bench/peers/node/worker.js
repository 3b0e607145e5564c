// Takes deliveries from the queue, decodes them and counts the events.
import { Worker } from "bullmq";
import qs from "qs";
import { client, connection } from "./redis.js";

const redis = client();

function events(body) {
  const delivery = qs.parse(body, { depth: 20, parameterLimit: 10000 });
  return Object.entries(delivery)
    .filter(([entity]) => entity !== "account")
    .flatMap(([entity, actions]) =>
      Object.entries(actions).flatMap(([action, items]) => Object.values(items).map((item) => ({ entity, action, item }))),
    );
}

new Worker(
  "deliveries",
  async (job) => {
    for (const event of events(job.data.body)) await redis.incr("test:handled");
  },
  { connection: connection(), concurrency: 16 },
);
process.on("SIGTERM", () => process.exit(0));
