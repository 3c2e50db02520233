{{- /* Values that each make sense and cannot work together; what is wrong in itself the schema refuses. */ -}}
{{- define "promlstm.refuse" -}}
{{- $v := .Values -}}
{{- if not $v.prometheus.url }}{{ fail "prometheus.url is not set: promlstm has nobody to ask. Say --set prometheus.url=http://HOST:PORT" }}{{ end -}}
{{- if not (or $v.presets $v.detectors) }}{{ fail "neither presets nor detectors are set: there is nothing to watch" }}{{ end -}}
{{- range $where, $server := dict "prometheus" $v.prometheus "retraining.exclude.silences" $v.retraining.exclude.silences -}}
{{- if and $server.basic_auth $server.authorization }}{{ fail (printf "%s: basic_auth and authorization are both set: a request has one Authorization header" $where) }}{{ end -}}
{{- $tls := $server.tls_config | default dict -}}
{{- if ne (hasKey $tls "cert_secret") (hasKey $tls "key_secret") }}{{ fail (printf "%s.tls_config: cert_secret and key_secret go together" $where) }}{{ end -}}
{{- end -}}
{{- $sources := 0 -}}
{{- range list $v.models.existingClaim $v.models.fetch $v.models.inline }}{{ if . }}{{ $sources = add1 $sources }}{{ end }}{{ end -}}
{{- if gt (int $sources) 1 }}{{ fail "models: existingClaim, fetch and inline all mean the folder /models: set one of them" }}{{ end -}}
{{- $files := keys $v.models.inline -}}
{{- range $v.models.fetch }}{{ $files = append $files .name }}{{ end -}}
{{- $anything := not (empty $v.models.existingClaim) -}}
{{- range $v.extraVolumeMounts }}{{ if hasPrefix "/models" (.mountPath | default "") }}{{ $anything = true }}{{ end }}{{ end -}}
{{- range $v.detectors -}}
{{- $name := .name -}}
{{- if eq (empty .expr) (empty .features) }}{{ fail (printf "detectors: %s: expected either expr, or features with by" .name) }}{{ end -}}
{{- if ne (empty .features) (empty .by) }}{{ fail (printf "detectors: %s: features are joined into entities by labels: give both features and by, or neither" .name) }}{{ end -}}
{{- with .range }}{{ if ge (index . 0 | float64) (index . 1 | float64) }}{{ fail (printf "detectors: %s: range is [low, high], with low below high" $name) }}{{ end }}{{ end -}}
{{- $model := .model | default "" -}}
{{- if and (hasPrefix "/models/" $model) (not $anything) (not (has (trimPrefix "/models/" $model) $files)) }}{{ fail (printf "detectors: %s runs %s, and nothing puts it there: set models.fetch, models.existingClaim or models.inline" .name $model) }}{{ end -}}
{{- end -}}
{{- $bytes := 0 -}}
{{- range $name, $file := $v.models.inline }}{{ $bytes = add $bytes (div (mul 3 (len $file)) 4) }}{{ end -}}
{{- if gt (int $bytes) 700000 }}{{ fail (printf "models.inline holds %d bytes: a ConfigMap ends at 1 MiB with base64 and all, so 700000 is the most. Use models.fetch or models.existingClaim" (int $bytes)) }}{{ end -}}
{{- if and $v.models.existingClaim (not $v.models.claimIsShared) (gt (int $v.replicas) 1) }}{{ fail "replicas is more than 1 and models.existingClaim can be mounted by one node only: take a claim that several can mount and set models.claimIsShared, or use models.fetch" }}{{ end -}}
{{- if $v.retraining.enabled -}}
{{- if not $v.models.existingClaim }}{{ fail "retraining.enabled without models.existingClaim: there is no volume to write the new model to" }}{{ end -}}
{{- $names := (include "promlstm.retrained" $ | fromYaml).names -}}
{{- range $v.retraining.detectors }}
{{- if not (has . $names) }}{{ fail (printf "retraining.detectors: %s is no detector of presets or detectors, or names a model of its own" .) }}{{ end -}}
{{- end -}}
{{- if not $names }}{{ fail "retraining.enabled, but every detector names a model of its own: nobody would run what is made" }}{{ end -}}
{{- end -}}
{{- if and $v.podDisruptionBudget (lt (int $v.replicas) 2) }}{{ fail "podDisruptionBudget is for two replicas or more: of one pod it protects nothing, or no node could ever be drained" }}{{ end -}}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled }}{{ fail "serviceMonitor and podMonitor are both enabled: every pod would be scraped twice, and each entity would have two scores" }}{{ end -}}
{{- if $v.networkPolicy.enabled -}}
{{- if not $v.networkPolicy.scrapeFrom }}{{ fail "networkPolicy.scrapeFrom is empty: nobody could scrape" }}{{ end -}}
{{- if not $v.networkPolicy.prometheus.to }}{{ fail "networkPolicy.prometheus.to is empty: no query would get out" }}{{ end -}}
{{- if not $v.networkPolicy.dns.to }}{{ fail "networkPolicy.dns.to is empty: no name would be found" }}{{ end -}}
{{- if and $v.models.fetch (not $v.networkPolicy.fetch.to) }}{{ fail "networkPolicy.fetch.to is empty: models.fetch could not fetch" }}{{ end -}}
{{- if and $v.retraining.enabled $v.retraining.exclude.silences (not $v.networkPolicy.alertmanager.to) }}{{ fail "networkPolicy.alertmanager.to is empty: retraining.exclude.silences could not be read" }}{{ end -}}
{{- end -}}
{{- end }}
