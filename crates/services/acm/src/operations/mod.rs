//! One operation, one file.

mod add_tags_to_certificate;
mod delete_certificate;
mod describe_certificate;
mod get_certificate;
mod import_certificate;
mod list_certificates;
mod list_tags_for_certificate;
mod remove_tags_from_certificate;
mod renew_certificate;
mod request_certificate;
mod resend_validation_email;
mod update_certificate_options;
