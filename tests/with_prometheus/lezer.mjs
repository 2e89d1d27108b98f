// Judges expressions with Prometheus' own grammar for editors: reads a JSON list of them, writes a list of booleans (whether no part of the tree is an error).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { parser } = createRequire(process.argv[2] + "/")("@prometheus-io/lezer-promql");
const expressions = JSON.parse(readFileSync(0, "utf8"));

const taken = (text) => {
  let fine = true;
  parser.parse(text).iterate({ enter: (node) => { fine &&= !node.type.isError; } });
  return fine;
};

process.stdout.write(JSON.stringify(expressions.map(taken)));
