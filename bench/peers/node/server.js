// An Express receiver that puts each delivery into a BullMQ queue, as BullMQ's own guide does; as many processes as
// gunicorn is given. HELLO=1 leaves the queue out: what an answer costs before anything is done for it.
import cluster from "node:cluster";
import { createHmac, timingSafeEqual } from "node:crypto";
import { Queue } from "bullmq";
import express from "express";
import { connection } from "./redis.js";

const { PORT, KOMMO_CLIENT_ID, KOMMO_CLIENT_SECRET, HELLO } = process.env;

function isSigned(account, signature) {
  const expected = createHmac("sha256", KOMMO_CLIENT_SECRET).update(`${KOMMO_CLIENT_ID}|${account}`).digest("hex");
  return expected.length === signature.length && timingSafeEqual(Buffer.from(expected), Buffer.from(signature));
}

function serve() {
  const app = express();
  app.use(express.text({ type: "*/*", limit: "8mb" }));
  if (HELLO) {
    app.post("/hook", (request, response) => response.sendStatus(200));
  } else {
    const queue = new Queue("deliveries", {
      connection: connection(),
      defaultJobOptions: { attempts: 5, removeOnComplete: true },
    });
    app.post("/hook/:account/:signature/", async (request, response) => {
      const { account, signature } = request.params;
      if (!isSigned(account, signature)) return response.sendStatus(401);
      await queue.add("delivery", { account, body: request.body });
      return response.sendStatus(200);
    });
  }
  app.listen(Number(PORT), "127.0.0.1");
}

if (cluster.isPrimary) {
  for (let place = 0; place < 2; place += 1) cluster.fork();
  process.on("SIGTERM", () => process.exit(0));
} else {
  serve();
}
