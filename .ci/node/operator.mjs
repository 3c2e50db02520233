// Reads a JSON array of objects of the Prometheus operator; prints for each what its schema has against it, an empty array for nothing.
import { readFileSync } from 'node:fs';

const complaints = [];
for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  const models = await import(`@kubernetes-models/prometheus-operator/${object.apiVersion}`);
  try {
    new models[object.kind](object).validate();
    complaints.push([]);
  } catch (error) {
    if (!error.ajv) throw error; // not a verdict
    complaints.push([error.message]);
  }
}
console.log(JSON.stringify(complaints));
