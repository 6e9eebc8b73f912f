// Verifies access tokens, and caches the key set for its `max-age`. It does not fetch for an unknown `kid`.
//
// Reads one token a line. Prints "ok" or the error for each, and finally the number of fetches.

import { createInterface } from "node:readline";
import { createLocalJWKSet, errors, jwtVerify } from "jose";

const [issuer, ...urls] = process.argv.slice(2);
let keys, until = 0, fetched = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (performance.now() >= until) {
    // The instances take turns. All publish the same key set.
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
