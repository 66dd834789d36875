-- Why a charge failed, in words: of a decline code or a failure code of Stripe's; NULL for none. One that is not here
-- is said as it is. https://docs.stripe.com/declines/codes and https://docs.stripe.com/error-codes
CREATE FUNCTION decline_words(code text) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(
        (
            SELECT w.words
            FROM (
                VALUES
                ('account_closed', 'The bank account is closed'),
                ('approve_with_id', 'The bank did not authorize it'),
                ('authentication_required', 'The bank wants the customer to confirm'),
                ('authentication_not_handled', 'The bank wanted the customer to confirm'),
                ('bank_account_restricted', 'The bank account takes no debits'),
                ('bank_ownership_changed', 'The bank account has another owner'),
                ('call_issuer', 'The bank declined: the customer has to call it'),
                ('card_declined', 'The bank declined'),
                ('card_not_supported', 'The card cannot be used for this'),
                ('card_velocity_exceeded', 'The card is at its limit'),
                ('currency_not_supported', 'The card does not take the currency'),
                ('debit_not_authorized', 'The customer did not allow the debit'),
                ('do_not_honor', 'The bank declined: the customer has to call it'),
                ('do_not_try_again', 'The bank declined for good'),
                ('duplicate_transaction', 'The same amount was charged a moment before'),
                ('expired_card', 'The card has expired'),
                ('fraudulent', 'Held to be fraud'),
                ('generic_decline', 'The bank declined and does not say why'),
                ('highest_risk_level', 'Blocked: the risk of fraud is too high'),
                ('incorrect_address', 'The address is wrong'),
                ('incorrect_cvc', 'The security code is wrong'),
                ('incorrect_number', 'The card number is wrong'),
                ('incorrect_pin', 'The PIN is wrong'),
                ('incorrect_zip', 'The postal code is wrong'),
                ('insufficient_funds', 'Not enough money'),
                ('invalid_account', 'The card or its account is not valid'),
                ('invalid_amount', 'The amount is not allowed'),
                ('invalid_cvc', 'The security code is wrong'),
                ('invalid_expiry_month', 'The expiry month is wrong'),
                ('invalid_expiry_year', 'The expiry year is wrong'),
                ('invalid_number', 'The card number is wrong'),
                ('issuer_not_available', 'The bank could not be reached'),
                ('lost_card', 'The card was reported lost'),
                ('merchant_blacklist', 'On the list of blocked payments'),
                ('new_account_information_available', 'The card or its account is not valid'),
                ('no_account', 'The bank account does not exist'),
                ('no_action_taken', 'The bank declined: the customer has to call it'),
                ('not_permitted', 'The payment is not allowed'),
                ('offline_pin_required', 'The card needs its PIN'),
                ('online_or_offline_pin_required', 'The card needs its PIN'),
                ('payment_method_not_available', 'The payment method cannot be used now'),
                ('pickup_card', 'The card was reported lost or stolen'),
                ('pin_try_exceeded', 'The PIN was wrong too often'),
                ('processing_error', 'An error at the bank'),
                ('reenter_transaction', 'An error at the bank'),
                ('restricted_card', 'The card was reported lost or stolen'),
                ('revocation_of_all_authorizations', 'The customer stopped all payments'),
                ('revocation_of_authorization', 'The customer stopped the payments'),
                ('rule', 'Blocked by a rule of ours'),
                ('security_violation', 'The bank declined: the customer has to call it'),
                ('service_not_allowed', 'The bank declined: the customer has to call it'),
                ('stolen_card', 'The card was reported stolen'),
                ('stop_payment_order', 'The customer stopped the payment'),
                ('testmode_decline', 'A test card'),
                ('transaction_not_allowed', 'The bank declined: the customer has to call it'),
                ('try_again_later', 'The bank declined for now'),
                ('withdrawal_count_limit_exceeded', 'The card is at its limit')
            ) AS w (code, words)
            WHERE w.code = decline_words.code
        ),
        code
    )
$$;
