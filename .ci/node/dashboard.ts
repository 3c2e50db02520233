// A dashboard as Grafana's own types have it, for JSON to be checked against as an object literal: there a key that is not declared is
// an error. Where Dashboard is loose (`options`, `custom`, `targets` and overrides hold anything), the types of the panels and of the
// query to Prometheus are put in. A panel of another kind is added to Kinds.
import type { AnnotationQuery, Dashboard, FieldConfig, GraphFieldConfig, Panel } from '@grafana/schema';
import type { TableFieldOptions, VariableModel, VariableType } from '@grafana/schema';
import type { AdhocVariableSpec, QueryVariableSpec } from '@grafana/schema/apis/dashboard.grafana.app/v2';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as Table } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { PrometheusDataQuery } from 'grafana-schema-10/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen';

interface Kinds {
  stat: { options: Stat; custom: Record<never, never> };
  table: { options: Table; custom: TableFieldOptions };
  timeseries: { options: TimeSeries; custom: GraphFieldConfig };
}

// JSON has no enums, only their values.
type Json<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

// The types of panels tell what is there once Grafana has put in the defaults; in a file all of it may be left out.
type Some<T> = T extends string ? `${T}` : T extends unknown[] ? Some<T[number]>[] : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;

type Override<Custom> =
  | { [K in Exclude<keyof FieldConfig, 'custom'>]-?: { id: K; value: Json<FieldConfig[K]> } }[Exclude<keyof FieldConfig, 'custom'>]
  | { [K in keyof Custom & string]-?: { id: `custom.${K}`; value: Some<Custom[K]> } }[keyof Custom & string];

interface Fields<Custom> {
  defaults: Json<Omit<FieldConfig, 'custom'>> & { custom?: Some<Custom> };
  overrides: { matcher: { id: string; options?: unknown }; properties: Override<Custom>[] }[];
}

type Typed = {
  [Kind in keyof Kinds]: Json<Omit<Panel, 'type' | 'options' | 'targets' | 'fieldConfig'>> & {
    type: Kind;
    options: Some<Kinds[Kind]['options']>;
    targets: Json<PrometheusDataQuery>[];
    fieldConfig: Fields<Kinds[Kind]['custom']>;
  };
}[keyof Kinds];

// The keys of one type of variable only; Grafana writes them, and tells of them in its newer format of dashboards.
type Variable = Json<Omit<VariableModel, 'type'>> &
  (
    | ({ type: 'query' } & Pick<QueryVariableSpec, 'definition'>)
    | ({ type: 'adhoc' } & Pick<AdhocVariableSpec, 'filters'>)
    | { type: Exclude<VariableType, 'query' | 'adhoc'> }
  );

// The keys that the plugin for Prometheus reads of an annotation beside those that all have; schemas of the core do not know them.
interface Annotation extends Json<AnnotationQuery> {
  expr: string;
  titleFormat?: string;
  textFormat?: string;
}

export interface Board extends Json<Omit<Dashboard, 'panels' | 'annotations' | 'templating'>> {
  panels: Typed[];
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
}
