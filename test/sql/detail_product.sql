--
-- The periods of each product's sample, as documented
--
CREATE TEMPORARY TABLE sample (n serial, code text, "desc" jsonb);
INSERT INTO sample (code, "desc") VALUES
('pln', '{"tarif": "R1", "daya": 1300, "lembar_tagihan": 1,
	"detail": [{"periode": "201901", "nilai_tagihan": "8000", "admin": "2500", "denda": "500",
	"meter_awal": "00080000", "meter_akhir": "00090000"}]}'),
('pdam', '{"tarif": "3A", "lembar_tagihan": 1, "alamat": "WONOKROMO S.S BARU 2 8",
	"jatuh_tempo": "1-15 DES 2014", "detail": [{"periode": "201901", "nilai_tagihan": "8000",
	"denda": "500", "meter_awal": "00080000", "meter_akhir": "00090000", "biaya_lain": "1500"}]}'),
('hp', '{"lembar_tagihan": 1}'),
('internet', '{"lembar_tagihan": 2, "detail": [{"periode": "MEI 2019", "nilai_tagihan": "8000",
	"admin": "2500"}, {"periode": "JUN 2019", "nilai_tagihan": "11500", "admin": "2500"}]}'),
('bpjs', '{"jumlah_peserta": "2", "lembar_tagihan": 1, "alamat": "JAKARTA PUSAT",
	"detail": [{"periode": "01"}]}'),
('multifinance', '{"lembar_tagihan": 1, "item_name": "HONDA VARIO TECHNO 125 PGM FI NON CBS",
	"no_rangka": "MH1JFB111CK196426", "no_pol": "B6213UWX", "tenor": "030",
	"detail": [{"periode": "002", "denda": "0", "biaya_lain": "0"}]}'),
('pbb', '{"lembar_tagihan": 1, "alamat": "KO. GRIYA ASRI CIPAGERAN", "tahun_pajak": "2019",
	"kelurahan": "CIPAGERAN", "kecamatan": "CIMAHI UTARA", "kode_kab_kota": "0023",
	"kab_kota": "PEMKOT CIMAHI", "luas_tanah": "113 M2", "luas_gedung": "47 M2"}'),
('pgas', '{"lembar_tagihan": 1, "alamat": "KO. GRIYA ASRI CIPAGERAN",
	"detail": [{"periode": "0320", "meter_awal": "006538", "meter_akhir": "006573"}]}'),
('tv', '{"lembar_tagihan": 1, "detail": [{"periode": "MEI 22", "nilai_tagihan": "97500",
	"no_ref": "205A"}]}'),
('plnnontaglis', '{"lembar_tagihan": 1, "transaksi": "PENYAMBUNGAN BARU",
	"no_registrasi": "5392112011703", "tanggal_registrasi": "20120524"}'),
('emoney', '{"lembar_tagihan": 1}'),
('samsat', '{"lembar_tagihan": 1, "alamat": "GRIYA BULELENG 2 RT 005 RW 014 BULELENG",
	"nomor_identitas": "0212502110170100", "nomor_rangka": "MHKV5EA2JFJ001044",
	"nomor_mesin": "1NRF012268", "nomor_polisi": "DK 1243AL", "milik_kenama": "001",
	"merek_kb": "DAIHATSU", "model_kb": "XENIA 1.3 R M/T F653RV-GMDFJ", "tahun_buatan": "2018",
	"tgl_akhir_pajak_baru": "20210309", "biaya_pokok_bbn": "0", "biaya_pokok_swd": "14000",
	"biaya_pokok_pkb": "83000", "biaya_denda_swd": "0", "biaya_denda_bbn": "0",
	"biaya_denda_pkb": "0", "biaya_admin_stnk": "0", "biaya_admin_tnkb": "0",
	"biaya_parkir_pokok": "0", "biaya_pajak_progresif": "0"}');

-- those without periods have no row
SELECT s.code, d.*
FROM sample AS s, digipay_detail_json(s."desc") AS d
ORDER BY s.n, d.no;

-- but an outer join keeps them
SELECT s.code, d.no, d.periode, d.nilai_tagihan
FROM sample AS s LEFT JOIN LATERAL digipay_detail_json(s."desc") AS d ON true
ORDER BY s.n, d.no;

-- every key of every period is in its column, with the value as it was sent
SELECT s.code, p.no, k.key, k.value, to_jsonb(d) -> k.key AS "column"
FROM sample AS s,
	jsonb_array_elements(s."desc" -> 'detail') WITH ORDINALITY AS p (period, no),
	jsonb_each_text(p.period) AS k,
	digipay_detail_json(s."desc") AS d
WHERE d.no = p.no AND to_jsonb(d) ->> k.key IS DISTINCT FROM k.value;
-- and the columns hold nothing else
SELECT s.code, d.no, k.key
FROM sample AS s, digipay_detail_json(s."desc") AS d, jsonb_each_text(to_jsonb(d) - 'no') AS k
WHERE k.value IS NOT NULL AND NOT (s."desc" #> ARRAY['detail', (d.no - 1)::text]) ? k.key;

-- exact sums
SELECT sum(nilai_tagihan), sum(admin), pg_typeof(sum(admin))
FROM sample AS s, digipay_detail_json(s."desc") AS d;
