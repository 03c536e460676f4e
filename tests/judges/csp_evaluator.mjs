// Google's csp-evaluator. In: policies, as JSON on stdin. Out: what it finds in each.

import { readFileSync } from "node:fs";

import { CspEvaluator } from "csp_evaluator/dist/evaluator.js";
import { Severity } from "csp_evaluator/dist/finding.js";
import { CspParser } from "csp_evaluator/dist/parser.js";

const findings = (policy) =>
  new CspEvaluator(new CspParser(policy).csp).evaluate().map(({ severity, directive, value, description }) => ({
    severity,
    name: Severity[severity],
    about: [directive, value].filter(Boolean).join(" "),
    description,
  }));

console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(findings)));
