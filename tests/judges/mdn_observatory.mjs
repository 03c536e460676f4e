// MDN's own HTTP Observatory, offline. In: sites as tests/judges/observatory describes them, as JSON on stdin.
// Out: the score of each, and the result and modifier of each test.
//
// Its retriever is left out: we hand its tests what it would have fetched.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

import { AxiosHeaders } from "axios";

import { ALGORITHM_VERSION, ALL_TESTS } from "@mdn/mdn-http-observatory/src/constants.js";
import { MINIMUM_SCORE_FOR_EXTRA_CREDIT } from "@mdn/mdn-http-observatory/src/grader/charts.js";
import { getGradeForScore, getScoreModifier } from "@mdn/mdn-http-observatory/src/grader/grader.js";
import { Session } from "@mdn/mdn-http-observatory/src/retriever/session.js";
import { Requests } from "@mdn/mdn-http-observatory/src/types.js";

const sites = JSON.parse(readFileSync(0));

// The HSTS preload list is fetched by a postinstall script, and none of those runs here: ours names the sites that say so.
const conf = "node_modules/@mdn/mdn-http-observatory/conf";
const preloaded = sites.filter((site) => site.preloaded);
mkdirSync(conf, { recursive: true });
writeFileSync(
  `${conf}/hsts-preload.json`,
  JSON.stringify(Object.fromEntries(preloaded.map(({ host }) => [host, { mode: "force-https", includeSubDomains: true }]))),
);

// Node hands over a repeated header as one value, joined with a comma; only Set-Cookie stays a list.
function response(lines, sent = {}) {
  const headers = new AxiosHeaders();
  for (const [name, value] of lines) {
    if (name.toLowerCase() === "set-cookie") headers.set(name, [...(headers.get(name) ?? []), value]);
    else headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
  }
  return { headers, request: { headers: new AxiosHeaders(sent) }, status: 200, verified: true, data: "" };
}

function requests({ host, headers, page, cors, origin, route }) {
  const made = new Requests(host);
  made.session = new Session(new URL(`https://${host}/`));
  for (const [name, value] of headers) {
    // As its retriever does: a cookie that a browser would refuse is not kept.
    if (name.toLowerCase() === "set-cookie") {
      made.session.jar.setCookieSync(value, made.session.url.href, { ignoreError: true });
    }
  }
  made.resources.path = page;
  made.responses.auto = made.responses.https = response(headers);
  made.responses.cors = response(cors, { origin });
  made.responses.http = route.length > 0 ? response(headers) : null;
  made.responses.httpRedirects = route.map((url) => ({ url: new URL(url), status: 200 }));
  return made;
}

// The sums of its src/scanner/index.js, which cannot be had without its retriever.
function verdict(site) {
  const results = ALL_TESTS.map((test) => test(requests(site)));
  const modifiers = results.map(({ result }) => getScoreModifier(result));
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 100);
  const penalised = sum(modifiers.filter((modifier) => modifier < 0));
  const { score, grade } = getGradeForScore(penalised >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? sum(modifiers) : penalised);
  const tests = results.map((output, at) => [output.constructor.name, [output.result, modifiers[at]]]);
  return { score, grade, tests: Object.fromEntries(tests) };
}

console.log(JSON.stringify({ algorithm: ALGORITHM_VERSION, verdicts: sites.map(verdict) }));
