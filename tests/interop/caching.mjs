// A microservice in JavaScript that keeps the key set for as long as it may, and never asks because of a key it does not know.
//
// Reads a token a line; answers each with a line: "ok" or why it refuses. At the end, says how often it fetched the key set.

import { createInterface } from "node:readline";
import { createLocalJWKSet, errors, jwtVerify } from "jose";

const [issuer, ...urls] = process.argv.slice(2);
let keys, until = 0, fetched = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (performance.now() >= until) {
    // Another instance each time: all of them publish the same.
    const response = await fetch(urls[fetched % urls.length]);
    keys = createLocalJWKSet(await response.json());
    const [, age] = response.headers.get("cache-control").match(/max-age=(\d+)/);
    until = performance.now() + Number(age) * 1000;
    fetched += 1;
  }
  try {
    await jwtVerify(line.trim(), keys, {
      algorithms: ["ES256", "EdDSA", "RS256"],
      issuer,
      requiredClaims: ["exp", "iat", "jti", "sub"],
      typ: "at+jwt",
    });
    console.log("ok");
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    console.log(`refused: ${error.message}`);
  }
}
console.log(fetched);
