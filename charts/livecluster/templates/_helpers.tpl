{{- define "livecluster.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- printf "%s-operator" ($release | trunc 41 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "livecluster.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Labels of an object with further ones, from {root, further}. The chart's own win over those, and those over commonLabels. */}}
{{- define "livecluster.labelsWith" -}}
{{- $labels := include "livecluster.selector" .root | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- merge $labels (default dict .further) (default dict .root.Values.commonLabels) | toYaml -}}
{{- end -}}

{{- define "livecluster.labels" -}}
{{- include "livecluster.labelsWith" (dict "root" . "further" dict) -}}
{{- end -}}

{{- define "livecluster.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "livecluster.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Name of a cluster-scoped object. It contains the namespace, because two releases may have the same name. */}}
{{- define "livecluster.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "livecluster.fullname" .) -}}
{{- end -}}

{{/* Image reference from {registry, image: {repository, tag, digest}, version}. */}}
{{- define "livecluster.image" -}}
{{- $repository := .image.repository -}}
{{- if .registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .registry) $repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .version .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Namespace in which `helm test` creates its LiveCluster: one that the operator watches. */}}
{{- define "livecluster.testNamespace" -}}
{{- if or (not .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first .Values.watchNamespaces -}}
{{- end -}}
{{- end -}}
