import { Redis } from "ioredis";

const path = process.env.REDIS_URL.replace("unix://", "");

export function connection() {
  return { path, maxRetriesPerRequest: null };
}

export function client() {
  return new Redis(connection());
}
