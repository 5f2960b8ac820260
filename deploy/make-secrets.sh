#!/bin/sh
# Makes the secrets that compose.yaml reads, once, with random passwords. Usage: deploy/make-secrets.sh [FOLDER]
# The broker's definitions are made anew each time: queues, and one user for each service with the rights of rights.tsv.
set -eu
here=$(dirname "$0")
folder=${1:-secrets}
command -v openssl >/dev/null || { echo "openssl is not installed: the broker's passwords are hashed with it" >&2; exit 1; }
mkdir -p "$folder"
# The files are mounted for other users than yours; the folder keeps everybody else out.
chmod 700 "$folder"
new() {
    if [ -e "$folder/$1" ]; then echo "$folder/$1 exists, kept"; else cat > "$folder/$1" && chmod 644 "$folder/$1"; fi
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# As RabbitMQ keeps a password: base64 of four bytes of salt and the SHA-256 of salt and password.
hashed() {
    salt=$(od -An -N2 -tx1 /dev/urandom | tr -d ' \n')
    { printf '%s' "$salt"; printf '%s%s' "$salt" "$1" | openssl dgst -sha256 -binary; } | base64
}
in_json() { printf '%s' "$1" | sed 's/\\/\\\\/g'; }
# The tables' owner, for `migrate`, and the roles of deploy/postgresql/create-role.sh.
for share in app service public mailbox; do
    role=kontaktpflege_$share url=database_url_$share
    [ "$share" != app ] || { role=kontaktpflege url=database_url; }
    [ ! -e "$folder/$url" ] || continue
    password=$(random)
    printf '%s' "$password" | new "postgres_${share}_password"
    printf 'postgresql://%s:%s@postgres/kontaktpflege' "$role" "$password" | new "$url"
done
random | new link_keys
random | new postgres_admin_password
random | new grafana_admin_password
users='' permissions='' tab=$(printf '\t')
while IFS=$tab read -r user configure write read; do
    case $user in '#'*) continue ;; esac
    printf 'amqp://%s:%s@rabbitmq' "$user" "$(random)" | new "broker_url_$user"
    hash=$(hashed "$(sed 's/.*:\(.*\)@.*/\1/' "$folder/broker_url_$user")")
    users="$users${users:+,
}  {\"name\": \"$user\", \"password_hash\": \"$hash\", \"hashing_algorithm\": \"rabbit_password_hashing_sha256\", \"tags\": \"\"}"
    rights="\"configure\": \"$(in_json "$configure")\", \"write\": \"$(in_json "$write")\", \"read\": \"$(in_json "$read")\""
    permissions="$permissions${permissions:+,
}  {\"user\": \"$user\", \"vhost\": \"/\", $rights}"
done <"$here/rabbitmq/rights.tsv"
{
    printf '{\n "users": [\n%s\n ],\n "permissions": [\n%s\n ],\n' "$users" "$permissions"
    sed 1d "$here/rabbitmq/definitions.json"
} >"$folder/rabbitmq_definitions.json"
chmod 644 "$folder/rabbitmq_definitions.json"
: | new smtp_password
: | new imap_password
echo "secrets are in $folder/; write the mail server's password into $folder/smtp_password, a mailbox's into imap_password"
