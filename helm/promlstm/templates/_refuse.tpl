{{- /* Values that each make sense and cannot work together; what is wrong in itself the schema refuses. */ -}}
{{- define "promlstm.refuse" -}}
{{- $v := .Values -}}
{{- if not $v.prometheus.url }}{{ fail "prometheus.url is not set: promlstm has nobody to ask. Say --set prometheus.url=http://HOST:PORT" }}{{ end -}}
{{- if not (or $v.presets $v.detectors) }}{{ fail "neither presets nor detectors are set: there is nothing to watch" }}{{ end -}}
{{- range $v.presets }}
{{- if not ($.Files.Get (printf "presets/%s.yml" .)) }}{{ fail (printf "presets: there is no %s" .) }}{{ end -}}
{{- end -}}
{{- if and $v.prometheus.basic_auth $v.prometheus.authorization }}{{ fail "prometheus.basic_auth and prometheus.authorization are both set: a request has one Authorization header" }}{{ end -}}
{{- $tls := $v.prometheus.tls_config -}}
{{- if ne (hasKey $tls "cert_secret") (hasKey $tls "key_secret") }}{{ fail "prometheus.tls_config: cert_secret and key_secret go together" }}{{ end -}}
{{- $sources := 0 -}}
{{- range list $v.models.existingClaim $v.models.fetch $v.models.inline }}{{ if . }}{{ $sources = add1 $sources }}{{ end }}{{ end -}}
{{- if gt (int $sources) 1 }}{{ fail "models: existingClaim, fetch and inline all mean the folder /models: set one of them" }}{{ end -}}
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
