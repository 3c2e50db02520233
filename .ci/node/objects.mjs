// Reads a JSON array of objects of the Prometheus operator or of KEDA; prints for each what its schema has against it, an empty array for nothing.
import { readFileSync } from 'node:fs';

const packages = { 'monitoring.coreos.com': 'prometheus-operator', 'keda.sh': 'keda' };
const complaints = [];
for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  const models = await import(`@kubernetes-models/${packages[object.apiVersion.split('/')[0]]}/${object.apiVersion}`);
  try {
    new models[object.kind](object).validate();
    complaints.push([]);
  } catch (error) {
    if (!error.ajv) throw error; // not a verdict
    complaints.push([error.message]);
  }
}
console.log(JSON.stringify(complaints));
