#!/bin/sh
# Makes the secrets that compose.yaml reads, once, with random passwords. Usage: deploy/make-secrets.sh [FOLDER]
set -eu
folder=${1:-secrets}
mkdir -p "$folder"
# The files are mounted for other users than yours; the folder keeps everybody else out.
chmod 700 "$folder"
new() {
    if [ -e "$folder/$1" ]; then echo "$folder/$1 exists, kept"; else cat > "$folder/$1" && chmod 644 "$folder/$1"; fi
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
if [ ! -e "$folder/database_url" ]; then
    password=$(random)
    printf '%s' "$password" | new postgres_app_password
    printf 'postgresql://kontaktpflege:%s@postgres/kontaktpflege' "$password" | new database_url
fi
random | new postgres_admin_password
random | new grafana_admin_password
if [ ! -e "$folder/broker_url" ]; then
    password=$(random)
    printf 'default_user = kontaktpflege\ndefault_pass = %s\n' "$password" | new rabbitmq_user.conf
    printf 'amqp://kontaktpflege:%s@rabbitmq' "$password" | new broker_url
fi
: | new smtp_password
echo "secrets are in $folder/; write the mail server's password into $folder/smtp_password"
